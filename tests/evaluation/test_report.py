"""The report: one page that needs nothing else, says what the figures say, and obeys no file's name."""

import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.data.photos import SharpPhoto
from deblur.data.report_sets import ReportSet, open_report_sets
from deblur.evaluation.contest import Rules, Verdict, decide
from deblur.evaluation.evaluation import Evaluation, evaluate
from deblur.evaluation.examples import busiest, chosen
from deblur.evaluation.plots import Axis
from deblur.evaluation.report import result, write_report
from deblur.evaluation.ways import Way, model_ways, reference_ways
from deblur.inference.model_folder import open_model

HOSTILE = "\"><script>alert('x')<b>&.png"
Made = tuple[Evaluation, list[ReportSet], list[Way]]


@pytest.fixture(scope="module")
def made(
    model_folder: Path, pair_folder: Path, photos: dict[str, SharpPhoto], tmp_path_factory: pytest.TempPathFactory
) -> Made:
    """Six pairs, of which one has a hostile name, as a way has, and two sharp photographs."""
    root = tmp_path_factory.mktemp("report")
    pairs = shutil.copytree(pair_folder, root / "pairs")
    for kind in ("blur", "sharp"):
        (pairs / kind / "coffee.png").rename(pairs / kind / HOSTILE)
    (root / "sharp").mkdir()
    for name in ("rocket", "chelsea"):
        Image.fromarray(photos[name].pixels[:200, :220]).save(root / "sharp" / f"{name}.png")
    sets = open_report_sets([str(pairs), f"photos:{root / 'sharp'}"])
    ways = [*model_ways([("tiny", open_model(model_folder))]), *reference_ways()[:1]]
    ways[1] = replace(ways[1], name=HOSTILE)
    return evaluate(sets, ways), sets, ways


@pytest.fixture(scope="module")
def page(made: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    write_report(file, *made, price=2e-5)
    return file.read_text(encoding="utf-8")


class Reading(HTMLParser):
    """Tags that are open, and what was seen."""

    EMPTY = frozenset({"meta", "img", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.EMPTY and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} is closed where something else is open"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_every_tag_is_closed_and_every_picture_is_told_in_words(page: str) -> None:
    reading = Reading(page)
    assert not reading.open
    pictures = [attributes for tag, attributes in reading.seen if tag == "img"]
    assert len(pictures) == 3 * 3 + 2, "three pairs, each three times, and one photograph twice"
    assert all(each["alt"] and each["width"] and str(each["src"]).startswith("data:image/jpeg") for each in pictures)
    ids = [attributes["id"] for _, attributes in reading.seen if "id" in attributes]
    links = [str(attributes["href"]) for tag, attributes in reading.seen if tag == "a"]
    assert len(set(ids)) == len(ids)
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert sum(link.startswith("#picture-") for link in links) == 3, "the worst pairs lead to their pictures"


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    bare = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", page)
    assert not re.search(r"https?:|//\w|url\(|@import", bare)
    assert "default-src 'none'" in page
    script = page.partition("<script>")[2].partition("</script>")[0]
    assert b64encode(sha256(script.encode()).digest()).decode() in page


def test_the_names_of_files_are_text(page: str) -> None:
    assert HOSTILE not in page
    assert escape(HOSTILE) in page
    assert [tag for tag, _ in Reading(page).seen].count("script") == 1


def test_the_figures_are_those_of_the_summary(page: str, made: Made) -> None:
    text = " ".join(Reading(page).words)
    for each in made[0].summaries:
        for figure in (
            each.gain_db,
            each.shifted_gain_db,
            f"{each.restored.ms_ssim:.4f}",
            f"{each.restored.psnr_db:.2f}",
        ):
            assert str(figure) in text
    assert all(said in text for said in result(made[0]))
    assert f"{made[0].summaries[0].gain_db} dB" in result(made[0])[0]
    for facts in made[0].sets:
        assert facts.fingerprint in text
    assert "--page: #fbfbf9" in page
    assert "prefers-color-scheme: dark" in page


def test_the_same_evaluation_gives_the_same_bytes(page: str, made: Made, tmp_path: Path) -> None:
    told: list[str] = []
    write_report(tmp_path / "again.html", *made, price=2e-5, on_picture=told.append)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page
    assert len(told) == 4


def test_a_verdict_comes_first(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deblur.evaluation.contest.IMAGES_AT_LEAST", 6)
    evaluation, _, ways = made
    verdict = decide(evaluation, ways[0].name, ways[1].name, Rules(by_image=True))
    assert isinstance(verdict, Verdict)
    assert verdict.reasons
    write_report(tmp_path / "verdict.html", *made, verdict=verdict)
    text = (tmp_path / "verdict.html").read_text(encoding="utf-8")
    assert text.index("does not win against") < text.index('id="figures"')
    assert all(escape(reason) in text for reason in verdict.reasons)


def test_one_more_set_is_said_like_the_others(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {each.set for each in made[0].summaries}
    for said, more in ((len(names) - 1, False), (0, len(names) > 1)):
        monkeypatch.setattr("deblur.evaluation.report.SETS_SAID", said)
        write_report(tmp_path / "report.html", *made)
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert ("more sets" in text) == more


def test_best_median_and_worst_are_chosen_by_gain(made: Made) -> None:
    rows = made[0].rows(made[0].sets[0].name, made[0].ways[0].name)
    gains = sorted(row.gain_db for row in rows)
    found = {why: rows[index].gain_db for index, why in chosen(rows, sharp=False).items()}
    assert found == {"gains most": gains[-1], "median gain": gains[3], "gains least": gains[0]}
    assert list(chosen(rows[:1], sharp=False).values()) == ["gains most"]


def test_the_busiest_part_holds_what_there_is_to_see() -> None:
    energy = np.zeros((700, 900), np.float32)
    energy[600:640, 30:60] = 1
    part = busiest(energy)
    assert energy[part].shape == (480, 480)
    assert energy[part].sum() == energy.sum()
    assert energy[busiest(energy, 1000)].shape == energy.shape


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("", -0.3, 1.4), [0, 0.5, 1]),
        (Axis.around("", [0.307, 0.307]), [0, 0.1, 0.2, 0.3]),
        (Axis.around("", [-7.1, -0.2]), [-6, -4, -2, 0]),
        (Axis.around("", [0.0]), [-0.4, -0.2, 0, 0.2, 0.4]),
    ],
)
def test_ticks_are_what_people_count_in(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks == pytest.approx(ticks)


HARNESS = """
const slider = document.querySelector("input"), before = document.querySelector(".before");
slider.value = 20; slider.dispatchEvent(new Event("input"));
document.title = getComputedStyle(before).clipPath;
"""


def test_the_slider_moves_in_a_browser(page: str, tmp_path: Path) -> None:
    """The page's own policy allows its own script; only the test's is added to it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    digest = b64encode(sha256(HARNESS.encode()).digest()).decode()
    tested = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    tested = tested.replace("</body>", f"<script>{HARNESS}</script></body>")
    (tmp_path / "tested.html").write_text(tested, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += [
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command = [browser, *flags, "--enable-logging=stderr", "--dump-dom", (tmp_path / "tested.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "<title>inset(0px 80% 0px 0px)</title>" in done.stdout
    assert "CONSOLE" not in done.stderr
