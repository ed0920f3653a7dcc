"""``@champion`` moves only with evidence: real registries, models whose worth is known."""

import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from deblur.cli import main
from deblur.data.report_sets import open_report_sets
from deblur.errors import RegistrationError
from deblur.evaluation.card import write_card
from deblur.evaluation.contest import Rules
from deblur.evaluation.footprint import peak_mb
from deblur.inference import locating
from deblur.inference.model_folder import ONNX_FILE, read_info
from deblur.interval import Interval
from deblur.library import locate
from deblur.registry import promotion, versions
from deblur.registry.tracking import connect, experiment_id
from deblur.registry.versions import BEATS_BUNDLED, CHALLENGER, CHAMPION
from tests.evaluation.test_contest import rows
from tests.registry.untraced import log_version

NAME = "lighter"
pytestmark = pytest.mark.usefixtures("trusted")
UNSURE = Interval(0.1, -0.2, 0.4, 6, "scenes")


@pytest.fixture
def registered(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with versions 1 (by 4 levels), 2 (by 4 again) and 3 (by 10), none of them champion, and the pairs."""
    store = tmp_path / "store"
    store.mkdir()
    monkeypatch.chdir(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    monkeypatch.setattr(promotion, "bundled_model", lambda: None)  # these pairs are not blurred
    monkeypatch.setattr(locating, "bundled_model", lambda: None)

    monkeypatch.setattr(versions, "_log_version", log_version)
    for model in ("by4", "by4again", "by10"):
        folder = tmp_path / model
        shutil.copytree(planted / model, folder)
        write_card(folder, replace(read_info(folder), psnr_db=30.0, psnr_input_db=29.9, gain_db=UNSURE))
        client = connect()
        run_id = client.create_run(experiment_id(client), run_name=model).info.run_id
        versions.register(folder, None, NAME, run_id)  # type: ignore[arg-type]
    return planted / "pairs"


def aliases() -> dict[str, str]:
    return {alias: str(version) for alias, version in connect().get_registered_model(NAME).aliases.items()}


def promote(*arguments: str) -> int:
    return main(["promote", NAME, *arguments])


def test_a_first_champion_a_better_one_an_equal_one_and_back(
    registered: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pairs = str(registered)
    assert CHAMPION not in aliases(), "a gain that is not sure makes no champion"
    assert promote("--data", pairs, "--version", "1", "--dry_run") == 0
    assert "would become champion; nothing was moved" in capsys.readouterr().out
    assert CHAMPION not in aliases()
    assert promote("--data", pairs, "--version", "1") == 0
    assert aliases()[CHAMPION] == "1"

    assert promote("--data", pairs, "--version", "2") == 1, "equal to the champion"
    said = " ".join(capsys.readouterr().out.split())
    assert "does not win; version 1 stays champion: the lower bound of the difference" in said
    assert promote("--data", pairs, "--allow-slower", "--html", str(tmp_path / "report.html")) == 0
    assert aliases() == {CHALLENGER: "3", CHAMPION: "3"}
    assert "version 3 is champion now" in capsys.readouterr().out
    assert (tmp_path / "report.html").stat().st_size > 10_000

    tags = connect().get_model_version(NAME, "3").tags
    assert tags["promotion"].startswith("wins: ")
    run = connect().get_run(tags["promotion_run"])
    assert run.data.metrics["verdict.difference_db.mean"] > 2
    assert {f.path for f in connect().list_artifacts(run.info.run_id)} == {"evaluation.html", "evaluation.json"}
    assert connect().get_model_version(NAME, "2").tags["promotion"].startswith("does not win: ")

    assert promote("--rollback", "--dry-run") == 1
    assert promote("--rollback") == 0
    assert aliases()[CHAMPION] == "1"
    assert promote("--rollback") == 1
    assert "the first champion" in capsys.readouterr().err


def test_a_champion_that_came_meanwhile_stays(registered: Path) -> None:
    """Of two promotions at once, the second to be done was judged against one that is champion no more."""
    assert promote("--data", str(registered), "--version", "1") == 0
    sets = open_report_sets([str(registered)])
    who = promotion.contestants(NAME)
    judgement = promotion.judge(who.fetched(), sets, Rules(allow_slower=True))
    connect().set_registered_model_alias(NAME, CHAMPION, "2")
    with pytest.raises(RegistrationError, match="version 2 became champion in the place of 1"):
        promotion.carry_out(who, judgement, sets, [])
    assert aliases()[CHAMPION] == "2"


def test_what_cannot_decide_is_refused(registered: Path, planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promote() == 1
    assert "--data is needed" in capsys.readouterr().err
    assert promote("--data", str(planted / "few")) == 1
    assert "hold 10 pairs" in capsys.readouterr().err
    assert promote("--data", str(registered), "--version", "1") == 0
    assert promote("--data", str(registered), f"photos:{registered / 'sharp'}") == 1
    assert "set new_sets" in capsys.readouterr().err
    assert promote("--data", str(registered), "--version", "1") == 1
    assert "is challenger and champion" in capsys.readouterr().err


def test_the_set_that_selected_a_model_does_not_judge_it(
    registered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = open_report_sets([str(registered)])[0].fingerprint
    real = promotion.read_info
    monkeypatch.setattr(promotion, "read_info", lambda folder: replace(real(folder), scored_on=fingerprint))
    assert promote("--data", str(registered)) == 1
    assert "selected its checkpoint" in capsys.readouterr().err


def test_what_a_model_trained_on_does_not_judge_it(
    registered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither its sources nor the folder that they are parts of, nor one around; what it kept for a promotion does."""
    kept = open_report_sets([f"promotion:{registered}"])[0]
    real = promotion.read_info

    def trained(*datasets: tuple[str, str, str]) -> None:
        told = [dict(zip(("context", "digest", "source"), each, strict=True)) for each in datasets]
        monkeypatch.setattr(promotion, "read_info", lambda folder: replace(real(folder), trained={"datasets": told}))

    trained(("training", open_report_sets([str(registered)])[0].fingerprint, "elsewhere"))
    assert promote("--data", str(registered)) == 1
    assert "trained a contestant" in capsys.readouterr().err
    trained(("training", "a", str(registered)), ("promotion", kept.fingerprint, str(registered)))
    assert promote("--data", str(registered)) == 1
    assert "promotion:FOLDER" in capsys.readouterr().err
    monkeypatch.setattr(promotion, "evaluate", None)  # told before anything is restored
    assert promote("--data", f"photos:{registered / 'sharp'}") == 1
    assert "promotion:FOLDER" in capsys.readouterr().err, "nor a folder in it"
    trained(("training", "a", str(registered / "sharp" / "clip")), ("promotion", kept.fingerprint, str(registered)))
    assert promote("--data", f"photos:{registered / 'sharp'}") == 1
    assert "promotion:FOLDER" in capsys.readouterr().err, "nor one around it"
    assert promote("--data", f"promotion:{registered}") == 1
    assert "hold 4 pairs" in capsys.readouterr().err, "it may judge, and is too small here"


def test_who_beats_the_bundled_model_restores_where_nobody_chooses(
    registered: Path, planted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (promotion, locating, versions):
        monkeypatch.setattr(module, "bundled_model", lambda: planted / "by4")
    assert promote("--data", str(registered), "--version", "2", "--allow-slower") == 0
    assert "a plain 'deblur restore' goes on with it" in capsys.readouterr().out
    assert locate(None) == planted / "by4", "a champion that is no better changes nothing"
    assert promote("--data", str(registered), "--version", "3", "--allow-slower") == 0
    assert connect().get_model_version(NAME, "3").tags[BEATS_BUNDLED] == read_info(planted / "by4").sha256
    assert (locate(None) / ONNX_FILE).read_bytes() == (planted / "by10" / ONNX_FILE).read_bytes()


def test_mlflow_shows_the_card_and_what_an_evaluation_found(
    registered: Path, planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = connect().get_model_version(NAME, "1")
    assert version.description.startswith("# lighter-4\n")
    assert "## Known harms" in version.description
    assert mlflow.get_run(version.run_id).data.tags["mlflow.note.content"] == version.description
    few = str(planted / "few")
    assert main(["evaluate", f"models:/{NAME}/1", "--data", few, "--no-references", "--tracking"]) == 0
    version = connect().get_model_version(NAME, "1")
    assert "Gains in PSNR over the blurry input" in version.description
    (gain,) = (value for key, value in version.tags.items() if key.startswith("gain_db"))
    assert gain in version.description
    (run,) = connect().search_runs([experiment_id(connect())], filter_string="run_name LIKE 'evaluate%'")
    assert run.data.metrics
    assert {f.path for f in connect().list_artifacts(run.info.run_id)} == {"evaluation.html", "evaluation.json"}

    data = ["--data", str(registered), "--no-references", "--tracking"]
    assert main(["evaluate", f"models:/{NAME}/1", *data]) == 0
    evaluated = connect().get_model_version(NAME, "1").description
    assert "Gains in PSNR over the blurry input" in evaluated
    capsys.readouterr()
    assert main(["card", f"models:/{NAME}/1"]) == 0
    assert connect().get_model_version(NAME, "1").description == evaluated, "its figures are in no model.json"
    assert capsys.readouterr().out.strip() == evaluated.strip()


def test_memory_is_that_of_the_largest_image(pair_folder: Path) -> None:
    """Wherever in its set it is."""
    sizes = [pair.load()[0].shape[:2] for pair in open_report_sets([str(pair_folder)])[0].pairs]
    measured = [
        replace(row, height_px=h, width_px=w) for row, (h, w) in zip(rows("new", [26.0] * 6), sizes, strict=True)
    ]
    height_px, width_px = promotion._largest_px(measured)
    assert height_px * width_px == max(h * w for h, w in sizes) > sizes[0][0] * sizes[0][1]


def test_where_the_system_does_not_tell_memory_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither."""
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert math.isnan(peak_mb())


def test_a_champion_that_is_gone_is_told_with_the_way_out(registered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = connect()
    client.set_registered_model_alias(NAME, CHAMPION, "1")
    run = client.get_run(client.get_model_version(NAME, "1").run_id)
    shutil.rmtree(run.info.artifact_uri.removeprefix("file://"))
    assert promote("--data", str(registered)) == 1
    said = capsys.readouterr().err
    assert f"models:/{NAME}/1 cannot be fetched" in said
    assert f"'deblur promote {NAME} --rollback' gives its place" in said
