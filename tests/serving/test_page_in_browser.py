"""The page in a real browser, against the real service with the model that comes with the package."""

import json
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from deblur.data.photos import SharpPhoto, shaken
from deblur.inference.engine import Tiles
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, open_model
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.serving.api import create_app
from deblur.serving.model_store import ModelStore
from tests.listening import serving

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (dev.py installs it)")

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WITHOUT_A_SCREEN = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
KEY = "open-sesame"
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium (on Debian: apt install chromium)")


@pytest.fixture(scope="module")
def model() -> Model:
    folder = bundled_model()
    assert folder
    return open_model(folder)


@pytest.fixture(scope="module")
def app(model: Model) -> Starlette:
    return create_app(ModelStore(Path, lambda _: model))


@pytest.fixture(scope="module")
def address(app: Starlette) -> Iterator[str]:
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator["api.Browser"]:
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=WITHOUT_A_SCREEN)
        yield opened
        opened.close()


@dataclass
class Visit:
    """A tab, and what it asked for and complained of."""

    page: "api.Page"
    asked: list[str] = field(default_factory=list)
    posts: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def add(self, *files: Path) -> None:
        self.page.set_input_files("#files", files)

    def wait(self, selector: str, state: str = "visible") -> None:
        self.page.wait_for_selector(selector, timeout=20_000, state=state)

    def restored(self, *files: Path) -> None:
        self.add(*files)
        self.wait(f"#strip li:nth-child({len(files)}) .done")
        self.wait(".stage.both")

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """With the mouse, from a point of the stage to another."""
        box = self.page.locator("#stage").bounding_box()
        assert box
        self.page.mouse.move(box["x"] + start[0], box["y"] + start[1])
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + end[0], box["y"] + end[1])
        self.page.mouse.up()
        self.drawn()

    def drawn(self) -> None:
        """Wait until what was asked for is on the canvas."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def download(self) -> tuple[str, bytes]:
        with self.page.expect_download() as waiting:
            self.page.click("#download")
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()

    def labels(self) -> list[str]:
        """What the strip tells of its photos, without the time it took."""
        return [
            label.partition(" in ")[0]
            for label in self.page.eval_on_selector_all("#strip button", "all => all.map(each => each.ariaLabel)")
        ]

    def corner(self) -> list[int]:
        """Where the photo begins on the stage, px from its left and top."""
        script = "['left', 'top'].map(name => parseInt(stage.style.getPropertyValue(`--${name}`)))"
        return list(self.page.evaluate(script))

    def pixel(self, x: int, y: int) -> list[int]:
        script = "([x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3)]"
        return list(self.page.evaluate(script, [x, y]))


@pytest.fixture
def visit(browser: "api.Browser") -> Iterator[Callable[..., Visit]]:
    """Opens a tab. Whatever a test does there, nothing else is asked than the service, and no script fails."""
    contexts: list[tuple[api.BrowserContext, Visit, str]] = []

    def opened(address: str, **options: object) -> Visit:
        context = browser.new_context(**{"reduced_motion": "reduce", **options})
        visit = Visit(context.new_page())
        contexts.append((context, visit, address))
        context.on("request", lambda request: visit.asked.append(request.url))
        context.on("request", lambda request: request.method == "POST" and visit.posts.append(request.url))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("console", lambda said: "Policy" in said.text and visit.complaints.append(said.text))
        visit.page.goto(address)
        return visit

    yield opened
    for context, visit, address in contexts:
        context.close()
        assert not [url for url in visit.asked if not url.startswith((address, "blob:", "data:"))]
        assert not visit.complaints


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> dict[str, Path]:
    """Shaken photographs, some 240 px a side, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    kinds = {"china": "png", "coffee": "jpg", "chelsea": "tif"}
    for i, (name, ending) in enumerate(kinds.items()):
        crop = SharpPhoto(name, photos[name].pixels[60:300, 40:320])
        Image.fromarray(shaken(crop, np.random.default_rng(i), 8.0).blurry).save(folder / f"{name}.{ending}")
    (folder / "broken.jpg").write_bytes(b"no photo")
    return {path.stem: path for path in folder.iterdir()}


def served(address: str, photo: Path, query: str = "") -> bytes:
    with urlopen(Request(f"{address}api/deblur{query}", photo.read_bytes())) as answer:
        return bytes(answer.read())


def rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def test_a_photo_is_restored_compared_and_downloaded(
    visit: Callable[..., Visit], address: str, pictures: dict[str, Path]
) -> None:
    tab = visit(address)
    tab.restored(pictures["china"])
    before, answer = rgb(pictures["china"].read_bytes()), served(address, pictures["china"])
    assert tab.download() == ("china.deblurred.png", answer)
    assert "model" not in parse_qs(urlsplit(tab.posts[0]).query), "a single one may get another name meanwhile"
    assert "deblur-fast" in tab.page.inner_text("#facts")
    assert "$" in tab.page.inner_text("#facts")
    assert tab.page.inner_text("#said").startswith("Restored in")
    spot, (left, top) = (100, before.shape[1] // 2 + 4), tab.corner()
    shown = {}
    tab.page.focus("#divide")
    for way, presses in (("ArrowLeft", 10), ("ArrowRight", 20)):
        for _ in range(presses):
            tab.page.keyboard.press(way)
        tab.drawn()
        shown[way] = tab.pixel(left + spot[1], top + spot[0])
    assert tab.page.input_value("#divide") == "60"
    assert shown["ArrowLeft"] == rgb(answer)[spot].tolist(), "right of the divider lies the restored photo"
    assert shown["ArrowRight"] == before[spot].tolist(), "left of it the photo as it was"


def test_strength_is_blended_as_the_service_does(
    visit: Callable[..., Visit], address: str, pictures: dict[str, Path]
) -> None:
    tab = visit(address)
    tab.restored(pictures["china"])
    tab.page.focus("#divide")
    tab.page.keyboard.press("Home")
    tab.page.fill("#strength", "0.4")
    tab.drawn()
    assert len(tab.posts) == 1, "nobody was asked again"
    whole, wanted = (rgb(served(address, pictures["china"], query)) for query in ("", "?strength=0.4"))
    height, width = wanted.shape[:2]
    left, top = tab.corner()
    shown = rgb(urlopen(tab.page.evaluate("canvas.toDataURL()")).read())[top : top + height, left : left + width]
    assert np.abs(whole - wanted).max() > 20
    inside = (whole > 0) & (whole < 255)  # beyond, the service blends before it clamps to white and black
    assert np.abs(shown - wanted)[inside].max() <= 1
    name, data = tab.download()
    assert len(tab.posts) == 2
    assert (name, data) == ("china.deblurred.png", served(address, pictures["china"], "?strength=0.4"))
    tab.page.route("**/api/deblur?*", lambda route: route.abort(), times=1)
    tab.page.click("#download")
    tab.wait("#trouble >> text=cannot be reached")
    tab.page.fill("#strength", "1")
    tab.download()
    assert tab.page.inner_text("#trouble") == "", "it is over"


def test_drag_zoom_pan_and_loupe(visit: Callable[..., Visit], address: str, pictures: dict[str, Path]) -> None:
    tab = visit(address, viewport={"width": 700, "height": 600})
    tab.restored(pictures["china"])
    tab.drag((300, 150), (400, 150))
    divided = tab.page.input_value("#divide")
    assert float(divided) > 55
    tab.page.click("text=200 %")
    tab.drawn()
    assert tab.page.get_attribute("[data-zoom='2']", "aria-pressed") == "true"
    assert tab.corner()[1] == 0, "the photo reaches over the stage"
    seen = tab.page.locator("#canvas").screenshot()
    tab.drag((100, 100), (160, 130))
    dragged = tab.page.locator("#canvas").screenshot()
    assert tab.page.input_value("#divide") == divided
    tab.page.focus("#divide")
    tab.page.keyboard.press("Shift+ArrowDown")
    tab.drawn()
    panned = tab.page.locator("#canvas").screenshot()
    tab.page.keyboard.press("l")
    tab.drawn()
    magnified = tab.page.locator("#canvas").screenshot()
    assert len({seen, dragged, panned, magnified}) == 4
    tab.page.keyboard.press("0")
    tab.drawn()
    assert tab.page.get_attribute("#fit", "aria-pressed") == "true"


def test_several_photos_and_a_bad_one(visit: Callable[..., Visit], address: str, pictures: dict[str, Path]) -> None:
    tab = visit(address)
    tab.add(pictures["china"], pictures["broken"], pictures["coffee"])
    tab.wait("#strip li:nth-child(3) .done")
    assert tab.labels() == ["china.png: Restored", "broken.jpg: Was not restored", "coffee.jpg: Restored"]
    assert tab.page.inner_text("#trouble") == ""
    tab.page.click("#strip li:nth-child(2) button")
    assert "Not a readable image" in tab.page.inner_text("#trouble")
    assert "Allowed are JPEG" in tab.page.inner_text("#trouble")
    assert tab.page.is_disabled("#download")
    tab.page.click("#remove")
    assert tab.page.inner_text("#name") == "coffee.jpg"
    assert tab.download()[0] == "coffee.deblurred.jpg"


def test_what_the_browser_cannot_show_is_restored_and_offered(
    visit: Callable[..., Visit], address: str, pictures: dict[str, Path]
) -> None:
    tab = visit(address)
    tab.add(pictures["chelsea"])
    tab.wait("#strip .done")
    tab.page.wait_for_selector("text=cannot show this kind of file")
    assert tab.download() == ("chelsea.deblurred.tif", served(address, pictures["chelsea"]))


def test_models_are_chosen_and_tiles_are_counted(
    visit: Callable[..., Visit], model: Model, pictures: dict[str, Path]
) -> None:
    alone = pytest.importorskip("deblur.serving.standalone", reason="this service has one model and tells of no tiles")

    def slow(tiles: Tiles) -> Tiles:
        time.sleep(0.25)
        return tiles

    slowly = Model(model.info, Restorer(slow, Tiling(96, 16)))
    stores = {"slow": ModelStore(Path, lambda _: slowly), "fast": ModelStore(Path, lambda _: model)}
    with serving(create_app(stores, standalone=alone.Standalone())) as port:
        tab = visit(f"http://127.0.0.1:{port}/")
        tab.wait("#model option", state="attached")
        assert tab.page.is_hidden("#key-panel"), "no key is needed"
        watch = "new MutationObserver(() => steps.push(step.textContent)).observe(step, {childList: true})"
        tab.page.evaluate(f"window.steps = []; {watch}")
        tab.restored(pictures["china"])
        told = [step for step in tab.page.evaluate("steps") if re.fullmatch(r"Restoring, \d+ of \d+ tiles", step)]
        assert told == sorted(told)
        assert len(set(told)) > 1
        tab.page.select_option("#model", "fast")
        tab.wait("#strip .waiting, #strip .sending, #strip .restoring")
        tab.wait("#strip .done")
        assert [parse_qs(urlsplit(url).query)["model"] for url in tab.posts] == [["slow"], ["fast"]]


def test_dropped_and_pasted(visit: Callable[..., Visit], address: str, pictures: dict[str, Path]) -> None:
    tab = visit(address)
    script = """([bytes, name, kind]) => {
      const given = new DataTransfer();
      given.items.add(new File([new Uint8Array(bytes)], name));
      const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: given, bubbles: true})
        : new ClipboardEvent("paste", {clipboardData: given, bubbles: true});
      document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        tab.page.evaluate(script, [list(pictures["coffee"].read_bytes()), f"{kind}.jpg", kind])
    tab.wait("#strip li:nth-child(2) .done")
    assert tab.labels() == ["drop.jpg: Restored", "paste.jpg: Restored"]


@dataclass
class Doorkeeper:
    """Stands before an app as a host does: says 401 without the key, and 503 to the first few."""

    app: ASGIApp
    key: str = ""
    busy: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/api/deblur":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            keys = {headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-functions-key", "")}
            if self.key and keys != {self.key}:
                return await Response(status_code=401)(scope, receive, send)
            if self.busy:
                self.busy -= 1
                return await Response(status_code=503, headers={"Retry-After": "1"})(scope, receive, send)
        return await self.app(scope, receive, send)


@contextmanager
def kept(app: ASGIApp, port: int = 0, **door: object) -> Iterator[str]:
    with serving(Doorkeeper(app, **door), port) as port:  # type: ignore[arg-type]
        yield f"http://127.0.0.1:{port}/"


def test_a_key_is_asked_for_and_kept_in_the_tab_only(
    visit: Callable[..., Visit], app: Starlette, pictures: dict[str, Path]
) -> None:
    with kept(app, key=KEY) as address:
        tab = visit(address)
        tab.add(pictures["china"], pictures["coffee"])
        for key in ("", "wrong"):
            if key:
                tab.page.fill("#key", key)
                tab.page.keyboard.press("Enter")
            tab.wait("#trouble >> text=needs a key")
            tab.wait("#key:focus")
        assert len(tab.posts) == 2, "the second photo was not sent to be refused, too"
        tab.page.fill("#key", KEY)
        tab.page.keyboard.press("Enter")
        tab.wait("#strip li:nth-child(2) .done")
        assert tab.page.inner_text("#trouble") == ""
        assert KEY in tab.page.evaluate("JSON.stringify(sessionStorage)")
        assert tab.page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"
        assert not [url for url in tab.asked if KEY in url]


def test_a_busy_service_is_asked_again(visit: Callable[..., Visit], app: Starlette, pictures: dict[str, Path]) -> None:
    with kept(app, busy=1) as address:
        tab = visit(address)
        tab.add(pictures["coffee"])
        tab.wait("text=The service is busy")
        tab.wait("#strip .done")
        assert len(tab.posts) == 2


def test_a_service_that_is_gone_is_told_of_and_tried_again(
    visit: Callable[..., Visit], app: Starlette, pictures: dict[str, Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with kept(app, port) as address:
        tab = visit(address)
    tab.add(pictures["coffee"])
    tab.wait("#trouble >> text=cannot be reached")
    with kept(app, port):
        tab.page.click("#trouble button")
        tab.wait("#strip .done")


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not in build/axe (.ci/run fetches it)")
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing(visit: Callable[..., Visit], address: str, pictures: dict[str, Path], look: str) -> None:
    size = {"width": 390, "height": 844} if look == "phone" else {"width": 1280, "height": 800}
    tab = visit(address, viewport=size, color_scheme="dark" if look == "dark" else "light")

    def check(state: str) -> None:
        tab.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = tab.page.evaluate("axe.run().then(found => found.violations)")
        assert not found, f"{state}: " + json.dumps([(each["id"], each["nodes"][0]["html"]) for each in found])

    check("welcome")
    tab.page.evaluate("Object.assign(document.getElementById('key-panel'), {hidden: false, open: true})")
    check("key")
    tab.restored(pictures["coffee"])
    check("result")
    tab.add(pictures["broken"])
    tab.wait("#trouble button, #trouble p")
    check("trouble")
    sideways = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert sideways <= 0, "nothing is wider than the screen"
