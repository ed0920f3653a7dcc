"""The service follows its alias: real model folders, a real registry, requests while they change, and every failure."""

import hashlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deblur.cli import main
from deblur.errors import ModelError, NoSuchModel
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import Model, open_model, read_info, write_info
from deblur.inference.onnx_runtime import OnnxEngine
from deblur.inference.photo import restore_photo
from deblur.library import locate, locate_followed
from deblur.registry.versions import BEATS_BUNDLED
from deblur.serving.api import create_app
from deblur.serving.model_store import ModelStore
from tests.serving.test_api import png
from tests.serving.test_registry_client import until

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")

EVERY_S = 0.02
Store = Callable[..., ModelStore]


@pytest.fixture
def store_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Stores that ask often, and no longer than the test runs."""
    monkeypatch.setenv("DEBLUR_FOLLOW_S", str(EVERY_S))
    made: list[ModelStore] = []

    def store(*arguments: Callable[..., object], **options: object) -> ModelStore:
        made.append(ModelStore(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield store
    for each in made:
        each.close()


@pytest.fixture
def folders(model_folder: Path, tmp_path: Path) -> dict[str, Path]:
    """Two models, "old" and "new"; and "bad", whose file was altered."""
    made = {name: Path(shutil.copytree(model_folder, tmp_path / name)) for name in ("old", "new", "bad")}
    for name, folder in made.items():
        write_info(folder, replace(read_info(folder), name=name))
    data = bytearray((made["bad"] / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 64
    (made["bad"] / "model.onnx").write_bytes(data)
    return made


def test_it_swaps_while_requests_run_and_each_ends_on_the_model_it_began_with(
    store_of: Store, folders: dict[str, Path]
) -> None:
    now = {"is": folders["old"]}
    store = store_of(lambda: now["is"], open_model, lambda: now["is"])
    begun = store.get()
    with TestClient(create_app(store)) as client, ThreadPoolExecutor(2) as pool:

        def ask(number: int) -> tuple[int, str]:
            if number == 3:
                now["is"] = folders["new"]
            answer = client.post("/api/deblur", content=png())
            return answer.status_code, answer.headers.get("x-deblur-model", "")

        answers = list(pool.map(ask, range(30)))
        until(lambda: store.get().info.name == "new")
        assert ask(-1) == (200, "new")
        assert {status for status, _ in answers} == {200}
        assert answers[0] == (200, "old")
        now["is"] = folders["old"]
        until(lambda: client.get("/api/health").json()["model"] == "old")
    _, outcome = restore_photo(begun, png())
    assert outcome.model == "old", "a request that holds a model keeps it"


def test_a_bad_version_and_a_registry_that_fails_change_nothing_and_are_told_once(
    store_of: Store, folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    state = {"is": "old"}

    def follow() -> Path:
        asked.append(state["is"])
        if state["is"] == "down":
            raise ModelError("The registry cannot be reached (TimeoutError).")
        return folders[state["is"]]

    store = store_of(lambda: folders["old"], open_model, follow)
    assert store.get().info.name == "old"
    for trouble, told in (("down", "cannot be reached"), ("bad", "sha256 differs")):
        caplog.clear()
        state["is"] = trouble
        until(lambda trouble=trouble: asked.count(trouble) >= 3)  # type: ignore[misc]
        assert store.get().info.name == "old"
        lines = [line for line in caplog.messages if line.startswith("the model stays as it is")]
        assert len(lines) == 1
        assert told in lines[0]
    state["is"] = "new"
    until(lambda: store.get().info.name == "new")


def test_a_service_that_began_with_another_model_takes_up_the_one_that_was_asked_for(
    store_of: Store, folders: dict[str, Path]
) -> None:
    up = threading.Event()

    def follow() -> Path:
        if not up.is_set():
            raise ModelError("The registry cannot be reached (TimeoutError).")
        return folders["new"]

    store = store_of(lambda: folders["old"], open_model, follow)
    assert store.get().info.name == "old"
    up.set()
    until(lambda: store.get().info.name == "new")


def test_a_version_that_is_not_to_be_had_is_told_at_once_and_asked_for_until_it_is(
    store_of: Store, folders: dict[str, Path]
) -> None:
    up, asked = threading.Event(), list[int]()

    def locate() -> Path:
        asked.append(1)
        if not up.is_set():
            raise ModelError("The registry cannot be reached (TimeoutError).")
        return folders["new"]

    store = store_of(locate, fallbacks=lambda: [folders["old"]])
    assert store.get().info.name == "old"
    assert store.failure is not None
    assert store.failure.code == "model-not-found"
    (failed,) = TestClient(create_app(store)).get("/api/health").json()["models"]
    assert failed["last_failure"]["code"] == "model-not-found"
    up.set()
    until(lambda: store.get().info.name == "new")
    until(lambda: store.failure is None)
    (mended,) = TestClient(create_app(store)).get("/api/health").json()["models"]
    assert mended["failed"] is None
    assert mended["last_failure"]["code"] == "model-not-found"
    assert mended["last_failure"]["at"] >= failed["last_failure"]["at"], "it was asked for again meanwhile"
    times = len(asked)
    time.sleep(5 * EVERY_S)
    assert len(asked) == times


@pytest.mark.parametrize("every_s", ["0", "60", "inf", "1e300"])
def test_nothing_is_asked_more_often_than_it_should_be(
    every_s: str, store_of: Store, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_FOLLOW_S", every_s)
    asked: list[Path] = []
    store_of(lambda: folders["old"], open_model, lambda: asked.append(folders["new"])).get()
    time.sleep(0.2)
    assert not asked


def test_an_interval_that_is_none_is_told(
    store_of: Store, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEBLUR_FOLLOW_S", "soon")
    assert store_of(lambda: folders["old"]).get().info.name == "old"
    assert caplog.messages == [
        "DEBLUR_FOLLOW_S is soon; it must be seconds, or 0 to follow no alias. Going on with 60."
    ]


@pytest.fixture
def client(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Of a registry with tiny's versions 1, old, which is the champion, 2, new, and 3, bad."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_registered_model("tiny")
    for name in ("old", "new", "bad"):
        source = tmp_path / "artifacts" / name
        shutil.copytree(folders[name], source / "extra_files")
        client.create_model_version("tiny", source.as_uri())
    client.set_registered_model_alias("tiny", "champion", "1")
    return client


def test_an_alias_that_moves_in_a_real_registry_is_followed(store_of: Store, client: MlflowClient) -> None:
    uri, opened = "models:/tiny@champion", list[str]()

    def open_folder(folder: Path) -> Model:
        opened.append(read_info(folder).label)
        return open_model(folder)

    store = store_of(lambda: locate(uri), open_folder, lambda: locate_followed(uri))
    first = store.get()
    assert first.info.label == "tiny/1"
    client.set_registered_model_alias("tiny", "champion", "3")
    until(lambda: "tiny/3" in opened)
    assert store.get() is first, "its file was altered"
    client.set_registered_model_alias("tiny", "champion", "2")
    until(lambda: store.get().info.label == "tiny/2")
    noise = np.random.default_rng(0).random((70, 90, 3), dtype=np.float32)
    assert np.array_equal(store.get().restorer(noise), first.restorer(noise))
    assert opened.count("tiny/1") == opened.count("tiny/2") == 1


def test_a_version_that_is_refused_takes_no_good_copys_place(
    client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One whose file was altered, and one whose files are whole and that computes something else."""
    uri, new = "models:/tiny@champion", tmp_path / "artifacts" / "new" / "extra_files"
    good, info = locate(uri), read_info(new)
    means = [mean + 0.1 for mean in info.golden.cell_means]
    write_info(new, replace(info, golden=replace(info.golden, cell_means=means)))
    for version in ("3", "2"):
        client.set_registered_model_alias("tiny", "champion", version)
        refused = locate(uri)
        assert read_info(refused).version == version
        with pytest.raises(ModelError):
            open_model(refused)
    (tmp_path / "mlflow.db").write_bytes(b"no database, and long enough to be looked at" * 100)
    assert locate(uri) == good
    assert f"Going on with the last good copy, {good}" in caplog.text


@pytest.mark.parametrize("named", [True, False])
def test_where_a_service_starts_and_the_champion_is_refused_the_last_good_copy_serves(
    named: bool, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, or by itself, because it has beaten the bundled model; without a copy the package's model serves."""
    bundled = bundled_model()
    assert bundled is not None
    for version in ("1", "3"):
        client.set_model_version_tag("tiny", version, BEATS_BUNDLED, read_info(bundled).sha256)
    client.set_registered_model_alias("tiny", "champion", "3")
    arguments = ["--model", "models:/tiny@champion"] if named else []
    started: list[dict[str, object]] = []

    def start(app: Starlette, *_: object) -> int:
        with TestClient(app) as service:
            started.extend(service.get("/api/health").json()["models"])
        return 0

    monkeypatch.setattr(sys.modules["deblur.cli.serve"], "run", start)
    for good, source in ((None, "package"), ("1", "registry")):
        if good:
            client.set_registered_model_alias("tiny", "champion", good)
            locate("models:/tiny@champion")
            client.set_registered_model_alias("tiny", "champion", "3")
        assert main(["serve", *arguments, "--no-warm"]) == 0
        state = started.pop()
        assert (state["model"], state["source"]) == (f"tiny/{good}" if good else "deblur-fast", source)
        assert state["failed"]["code"] == "model-refused"  # type: ignore[index]


def test_nothing_takes_the_place_of_a_model_that_the_registry_does_not_have(
    store_of: Store, folders: dict[str, Path]
) -> None:
    def locate() -> Path:
        raise NoSuchModel("tiny has no alias champion")

    store = store_of(locate, fallbacks=lambda: [folders["old"]])
    with pytest.raises(ModelError, match="tiny has no alias champion"):
        store.get()
    assert store.loaded is None
    assert store.failure is not None


def test_of_several_fallbacks_the_first_that_passes_serves_and_the_first_failure_is_told(
    store_of: Store, folders: dict[str, Path], tmp_path: Path
) -> None:
    def locate() -> Path:
        raise ModelError("The registry cannot be reached (TimeoutError).")

    store = store_of(locate, fallbacks=lambda: [folders["bad"], folders["old"]])
    assert store.get().info.name == "old"
    assert store.failure is not None
    assert store.failure.code == "model-not-found"
    with pytest.raises(ModelError, match="cannot be reached"):
        store_of(locate, fallbacks=lambda: [folders["bad"], tmp_path / "nowhere"]).get()


@pytest.mark.parametrize("model", [None, "/a/folder", "models:/tiny/3"])
def test_what_is_no_alias_is_not_followed(model: str | None) -> None:
    assert locate_followed(model) is None


def test_where_the_registry_and_its_copy_fail_the_fallback_serves_until_the_registry_is_back(
    store_of: Store, folders: dict[str, Path]
) -> None:
    """Also where the registry gives a model that fails its checks."""
    up = threading.Event()

    def follow() -> Path:
        if not up.is_set():
            raise ModelError("The registry cannot be reached (TimeoutError).")
        return folders["new"]

    store = store_of(lambda: folders["bad"], open_model, follow, fallbacks=lambda: [folders["old"]])
    assert store.get().info.name == "old"
    assert store.failure is not None
    until(lambda: store.failure is not None and store.failure.code == "model-not-found")
    up.set()
    until(lambda: store.get().info.name == "new")
    until(lambda: store.failure is None)


def test_a_warm_model_has_computed_before_it_serves_also_where_the_alias_moves(
    store_of: Store, folders: dict[str, Path]
) -> None:
    now, computed = {"is": folders["old"]}, dict.fromkeys(("old", "new"), 0)

    def open_counting(folder: Path) -> Model:
        model = open_model(folder, OnnxEngine)

        def engine(batch: np.ndarray) -> np.ndarray:
            computed[model.info.name] += 1
            return model.restorer.engine(batch)

        return replace(model, restorer=replace(model.restorer, engine=engine))

    store = store_of(lambda: now["is"], open_counting, lambda: now["is"], warm=True)
    with TestClient(create_app(store)) as client:
        until(lambda: client.get("/api/ready").status_code == 200)
        assert computed["old"] > 0
        assert client.get("/api/models").json()["seconds_per_megapixel"] > 0
        now["is"] = folders["new"]
        until(lambda: store.get().info.name == "new")
        assert computed["new"] > 0


def test_bf16_that_is_wrong_on_this_processor_gives_way_to_f32(
    model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The golden input is computed as photos will be: what is wrong in bf16 only is served in float32, and said."""

    class WrongInBf16(OnnxEngine):
        precision = "bf16"

        def __call__(self, batch: np.ndarray, /) -> np.ndarray:
            return super().__call__(batch) + np.float32(0.02)

        def in_f32(self) -> OnnxEngine:
            return OnnxEngine(model_folder / "model.onnx")

    model = open_model(model_folder, WrongInBf16)
    assert model.bf16_refused
    assert type(model.restorer.engine) is OnnxEngine
    assert " in bf16)" in caplog.text
    client = TestClient(create_app(ModelStore(lambda: model_folder, lambda folder: model)))
    assert client.get("/api/health").json()["models"][0]["bf16_refused"] is True
    asked_for = type("Asked", (WrongInBf16,), {"in_f32": lambda self: None})
    with pytest.raises(ModelError, match="golden input off"):
        open_model(model_folder, asked_for)


def test_of_a_thousand_mutated_model_files_none_is_served(model_folder: Path, tmp_path: Path) -> None:
    """Flipped bits, cuts, zeroed pieces; where the checksum is forged, too, what is served computes the same."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "mutated"))
    file, whole, random = folder / "model.onnx", (model_folder / "model.onnx").read_bytes(), np.random.default_rng(0)
    store = ModelStore(lambda: folder)
    for number in range(1000):
        at = int(random.integers(len(whole)))
        length = (1, 64, len(whole) - at)[number % 3]
        with file.open("r+b") as stream:
            stream.seek(at)
            if number % 3 == 2:
                stream.truncate()
            else:
                stream.write(bytes(byte ^ 1 << int(random.integers(8)) for byte in whole[at : at + length]))
        store._failed_at = None
        with pytest.raises(ModelError, match="sha256 differs"):
            store.get()
        with file.open("r+b") as stream:
            stream.seek(at)
            stream.write(whole[at : at + length])
    store._failed_at = None
    assert store.get().info.name == "tiny", "it was put back"
    noise = np.random.default_rng(1).random((64, 64, 3), dtype=np.float32)
    right, refused = open_model(model_folder, OnnxEngine).restorer(noise), 0
    for _ in range(25):
        data, at = bytearray(whole), int(random.integers(len(whole)))
        data[at] ^= 1 << int(random.integers(8))
        file.write_bytes(data)
        write_info(folder, replace(read_info(folder), sha256=hashlib.sha256(data).hexdigest()))
        try:
            mutated = open_model(folder, OnnxEngine)
        except ModelError:
            refused += 1
        else:
            assert np.abs(mutated.restorer(noise) - right).mean() < 2e-3, f"bit at byte {at}"
    assert refused > 0
