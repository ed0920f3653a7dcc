"""Registries that fail in their own way: restoring goes on, what was registered is asked for, and no secret is told."""

import json
import logging
import math
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from deblur.cli import main
from deblur.demo import free_port
from deblur.errors import ModelError, NoSuchModel, RegistrationError, TrackerError
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import read_info, write_info
from deblur.interval import Interval
from deblur.library import locate
from deblur.registry import tracking, versions
from deblur.registry.benchmarks import log_benchmark
from deblur.registry.record import FINISHED, RunRecord
from deblur.registry.tracking import EXPERIMENT, connect, ship
from deblur.registry.versions import BEATS_BUNDLED, CHAMPION, fetch
from deblur.training.registering import ship_record
from tests.registry.aliases import aliases_of
from tests.registry.untraced import log_version
from tests.serving.test_registry_client import Registry

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


SURE = Interval(1.0, 0.5, 1.5, 6, "scenes")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of this test's own, in a sqlite file."""
    return use_store(tmp_path / "store", monkeypatch)


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions without the pt2, which takes seconds: ``test_loop_to_registry`` has it."""

    monkeypatch.setattr(versions, "_log_version", log_version)


def use_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir()
    monkeypatch.chdir(folder)  # MLflow makes mlruns/ here
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setattr(tracking, "SQLITE_LOCKED_S", 0.2)
    return folder / "mlflow.db"


@pytest.fixture
def record(tmp_path: Path, model_folder: Path) -> RunRecord:
    """A finished run with a verified model, as a training that was to register 'tiny' leaves it."""
    settings, tags = {"registered_model_name": "tiny", "batch_size": 4}, {"git_commit": "abc"}
    record = RunRecord.begin(tmp_path / "a run", "tiny", settings, tags)
    record.log_epoch(1, {"psnr": 25.0})
    shutil.copytree(model_folder, record.model_folder)
    info = replace(read_info(model_folder), psnr_db=25.0, psnr_input_db=24.0, gain_db=SURE)
    write_info(record.model_folder, info)
    record.end(FINISHED)
    return record


def beat_the_bundled_model(name: str, sha256: str | None = None) -> None:
    """The tag that a promotion sets."""
    bundled = bundled_model()
    assert bundled is not None
    client = connect()
    version = client.get_model_version_by_alias(name, CHAMPION).version
    client.set_model_version_tag(name, version, BEATS_BUNDLED, sha256 or read_info(bundled).sha256)


def lock(store: Path) -> Callable[[], None]:
    database = sqlite3.connect(store, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    return database.close


def damage(store: Path) -> None:
    store.write_bytes(b"no database, and long enough to be looked at" * 100)


def take_away(store: Path) -> None:
    store.unlink()


def put_a_folder_there(store: Path) -> None:
    store.unlink()
    store.mkdir()


FAULTS = [lock, damage, take_away, put_a_folder_there]


@pytest.mark.parametrize("fault", FAULTS)
def test_restoring_goes_on_with_the_last_copy_or_the_bundled_model_and_one_line_says_so(
    store: Path, record: RunRecord, fault: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    ship_record(record.folder)
    beat_the_bundled_model("tiny")
    copy = locate(None)
    assert read_info(copy).name == "tiny"
    assert locate("models:/tiny@champion") == copy
    caplog.clear()
    undo = fault(store)
    assert locate(None) == copy
    assert [line.levelno for line in caplog.records if line.name.startswith("deblur")] == [logging.WARNING]
    assert locate("models:/tiny@champion") == copy
    assert all(f"Going on with {what}" in caplog.text for what in (str(copy), "the last good copy"))
    with pytest.raises(ModelError, match=r"models:/tiny/1 cannot be fetched from the registry"):
        locate("models:/tiny/1")
    shutil.rmtree(copy)
    assert locate(None) == bundled_model()
    if callable(undo):
        undo()


def test_a_champion_that_has_not_beaten_the_bundled_model_restores_only_where_it_is_named(
    store: Path,
    record: RunRecord,
    pair_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ship_record(record.folder)
    photo = shutil.copy(pair_folder / "blur" / "chelsea.png", tmp_path)

    def told(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["restore", str(photo), "--overwrite", *arguments]) == 0
        said = capsys.readouterr()
        assert said.out == f"{tmp_path / 'chelsea.deblurred.png'}\n", "scripts read it"
        return said.err

    named = locate("models:/tiny@champion")
    assert locate(None) == bundled_model()
    assert told() == (
        "restoring with deblur-fast, the bundled model (choose with --model; the registry's champion tiny version 1 "
        "has not beaten it: deblur promote tiny --data SET)\n"
    )
    assert told("--model", "models:/tiny@champion") == "", "who chose knows"
    beat_the_bundled_model("tiny", "of another bundled model")
    assert locate(None) == bundled_model()
    with monkeypatch.context() as patch:
        patch.setattr(versions, "bundled_model", lambda: None)
        assert locate(None) == named, "where nothing is bundled any champion counts"
    beat_the_bundled_model("tiny")
    assert locate(None) == named
    assert told() == "restoring with tiny/1 (choose with --model)\n"


def test_a_copy_of_a_champion_counts_by_the_same_rule(store: Path, record: RunRecord) -> None:
    ship_record(record.folder)
    copy = locate("models:/tiny@champion")
    contents = store.read_bytes()
    damage(store)
    assert locate(None) == bundled_model(), "it was fetched, and had beaten nothing"
    store.write_bytes(contents)
    beat_the_bundled_model("tiny")
    assert locate(None) == copy
    damage(store)
    assert locate(None) == copy


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:SECRETPW@127.0.0.1:9/db",  # no driver
        "nothing://user:SECRETPW@host",
        "http://user:SECRETPW@127.0.0.1:9",
        "http://user:SECRET/PW@127.0.0.1:9",
        "http://SECRETPW@127.0.0.1:9",
    ],
)
def test_no_secret_is_told(
    address: str,
    record: RunRecord,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in tracking.LOGIN:
        monkeypatch.setenv(name, "")  # connect sets them: so that they go with the test
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert locate(None) == bundled_model()
    assert main(["ship", str(record.folder)]) == 5
    assert main(["restore", str(record.folder), "--model", "models:/tiny@champion"]) == 1
    with pytest.raises(TrackerError) as caught:
        log_benchmark("x", {}, [])
    told = capsys.readouterr()
    assert "Going on with the model that comes with the package" in caplog.text
    assert f"'deblur ship '{record.folder}' --name tiny' registers it later" in told.err
    kept = "".join(path.read_text() for path in record.folder.glob("*.json*"))
    assert "SECRET" not in told.out + told.err + caplog.text + str(caught.value) + kept


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"[1, 2]", b'{"registered_models": 3}'])
def test_a_server_that_is_none_is_told_and_no_other_gets_its_login(
    body: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in tracking.LOGIN:
        monkeypatch.setenv(name, "")  # connect sets them: so that they go with the test
    first, other = (Registry(lambda path: (200, {}, body)) for _ in range(2))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:SECRETPW@{first.place}")
    assert locate(None) == bundled_model()
    assert locate(None) == bundled_model()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{other.place}")
    assert locate(None) == bundled_model()
    assert caplog.text.count("The registry cannot be asked for its champion") == 3
    assert "SECRET" not in caplog.text
    assert (first.logins, other.logins) == ({"Basic dXNlcjpTRUNSRVRQVw=="}, {None})
    for registry in (first, other):
        registry.close()


def test_a_home_that_is_not_there_costs_nothing(
    store: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ship_record(record.folder)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert read_info(fetch("models:/tiny@champion")).version == "1"
    (tmp_path / "file").touch()
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "file")
    copy = fetch("models:/tiny@champion")
    assert read_info(copy).version == "1"
    assert fetch("models:/tiny@champion") == copy, "what follows an alias asks every minute"


def test_an_alias_that_was_deleted_gives_no_earlier_copy(store: Path, record: RunRecord) -> None:
    ship_record(record.folder)
    fetch("models:/tiny@champion")
    connect().delete_registered_model_alias("tiny", "champion")
    with pytest.raises(
        NoSuchModel,
        match=r"tiny has no alias champion; it has the aliases challenger \(version 1\)\. 'deblur promote tiny",
    ):
        fetch("models:/tiny@champion")
    with pytest.raises(NoSuchModel, match=r"tiny has no version 7; it has the aliases challenger \(version 1\)\.$"):
        fetch("models:/tiny/7")
    with pytest.raises(NoSuchModel, match="the registry has no model tinny; it has tiny"):
        fetch("models:/tinny@champion")


def test_of_the_copies_the_last_few_that_were_asked_for_are_kept(tmp_path: Path) -> None:
    names = [f"copy-{i}" for i in range(versions.KEPT + 2)]
    for i, name in enumerate(names):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - i, 1000 - i))
    (tmp_path / "copies.json").write_text("{}")
    versions._forget_earlier(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {*names[: versions.KEPT], "copies.json"}


def test_a_damaged_copy_is_fetched_again(store: Path, record: RunRecord) -> None:
    ship_record(record.folder)
    copy = fetch("models:/tiny@champion")
    (copy / "model.onnx").unlink()
    assert fetch("models:/tiny@champion") == copy
    assert (copy / "model.onnx").is_file()


def test_what_was_registered_is_asked_for(
    store: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, version = ship_record(record.folder)
    assert version == "1"
    client = connect()
    second = client.create_model_version("tiny", "nowhere", first).version
    client.delete_model_version("tiny", second)
    client.delete_registered_model_alias("tiny", "challenger")
    assert ship_record(record.folder) == (first, "1"), "it is there: nothing is sent or registered again"
    assert aliases_of("tiny", "1") == ["champion"], "and what a person changed since stays"

    use_store(tmp_path / "elsewhere", monkeypatch)
    elsewhere, version = ship_record(record.folder)
    assert (elsewhere != first, version) == (True, "1")
    assert aliases_of("tiny", "1") == ["challenger", "champion"]


@pytest.mark.parametrize(
    ("gain", "aliases", "told"),
    [
        (SURE, ["challenger", "champion"], "tiny version 1 (challenger, champion)"),
        (
            Interval(0.1, -0.2, 0.4, 6, "scenes"),
            ["challenger"],
            "; not champion: its gain over the input, +0.10 [-0.20, +0.40] dB, is not surely above 0",
        ),
        (
            Interval(0.1, -math.inf, math.inf, 2, "images"),
            ["challenger"],
            ", +0.10 [too few images] dB, is not surely above 0",
        ),
        (None, ["challenger"], "; not champion: its gain over the input has no interval"),
    ],
)
def test_the_first_champion_needs_a_gain_that_is_sure(
    store: Path,
    record: RunRecord,
    gain: Interval | None,
    aliases: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_info(record.model_folder, replace(read_info(record.model_folder), gain_db=gain))
    assert main(["ship", str(record.folder)]) == 0
    assert aliases_of("tiny", "1") == aliases
    _, line, *_ = capsys.readouterr().out.splitlines()
    assert line.startswith("registered: tiny version 1 (")
    assert line.endswith(told)


def test_a_later_version_is_not_told_why_it_is_not_champion(store: Path, record: RunRecord, tmp_path: Path) -> None:
    ship_record(record.folder)
    later = RunRecord(Path(shutil.copytree(record.folder, tmp_path / "later")))
    (later.folder / "run.json").write_text(json.dumps(record.run | {"id": "another"}))
    (later.folder / "shipped.json").unlink()
    write_info(later.model_folder, replace(read_info(later.model_folder), gain_db=None))
    lines = list[str]()
    ship_record(later.folder, on_line=lines.append)
    assert lines == ["registering as tiny", "registered: tiny version 2 (challenger)"]


def test_what_was_deleted_is_made_again(store: Path, record: RunRecord) -> None:
    run_id, _ = ship_record(record.folder)
    client = connect()
    client.delete_registered_model("tiny")
    assert ship_record(record.folder) == (run_id, "1"), "the model"
    client.delete_run(run_id)
    again, version = ship_record(record.folder)
    assert (again != run_id, version) == (True, "2"), "the run"
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    assert ship_record(record.folder)[1] == "2", "the experiment"
    assert client.get_run(again).info.lifecycle_stage == "active"
    assert len(client.get_metric_history(again, "psnr")) == 1


@pytest.mark.parametrize("text", ['{"epochs": ', "[]", "{}", '{"tracker": 3, "epochs": "x"}', '{"run_id": "no/run"}'])
def test_a_note_of_what_was_sent_that_is_broken_is_not_believed(store: Path, record: RunRecord, text: str) -> None:
    run_id = ship(record)
    (record.folder / "shipped.json").write_text(text)
    (record.folder / "registered.json").write_text(text)
    assert ship(record) == run_id


def test_the_address_of_an_earlier_version_is_kept_without_its_password(store: Path, record: RunRecord) -> None:
    run_id = ship(record)
    path = record.folder / "shipped.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"tracker": told["tracker"].replace(":///", "://user:SECRETPW@/")}))
    assert ship(record) == run_id
    assert json.loads(path.read_text()) == told


@pytest.mark.parametrize("fault", FAULTS)
def test_what_could_not_be_registered_is_5_and_the_command_makes_it_later(
    store: Path,
    record: RunRecord,
    fault: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ship(record)
    undo = fault(store)
    try:
        code = main(["ship", str(record.folder)])
    finally:
        if callable(undo):
            undo()
    if fault is take_away and code == 0:  # MLflow makes a store where none is, if it does not hold the old one open
        return
    assert code == 5
    assert f"deblur ship '{record.folder}'" in capsys.readouterr().err
    if fault is not lock:
        store = use_store(tmp_path / "mended", monkeypatch)  # this process still holds what the damaged one was
    assert main(["ship", str(record.folder)]) == 0, capsys.readouterr().err
    with closing(sqlite3.connect(store)) as database:
        assert database.execute("SELECT name FROM model_versions").fetchall() == [("tiny",)]


def test_a_registry_that_fails_after_the_run_was_taken_is_5(
    store: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise KeyError("SECRETPW of a server in its own words")

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "SECRETPW")
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", refuse)
    with pytest.raises(
        RegistrationError, match=r"tiny could not be registered \(KeyError.*'deblur ship '.*' --name"
    ) as e:
        ship_record(record.folder)
    assert "SECRETPW" not in str(e.value)


def test_a_dead_server_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ModelError, match=f"{place} does not answer"):
        fetch("models:/tiny@champion")
