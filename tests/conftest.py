"""What tests share: small real photographs, pairs made from them, a small trained-looking model folder, and a fence
that keeps every test's registry in its own folder."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other core has tests of its own; torch reads it at import
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"

import numpy as np
import pytest
import torch
from PIL import Image

from deblur import project
from deblur.data.photos import SharpPhoto, installed_photos, shaken
from deblur.export.onnx import export_model
from deblur.inference.tiling import Tiling
from deblur.models.unet import DeblurUNet
from deblur.registry import tracking
from tests import quick_export as quick

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit an ignored Ctrl-C

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
LONG = (
    *("registry/test_tracker_faults.py", "registry/test_loop_to_registry.py", "registry/test_promotion.py"),
    *("training/test_processes.py", "training/test_kills.py", "training/test_presets.py", "training/test_data.py"),
    *("cli/test_cli.py", "serving/test_hostile.py", "function_app/test_staged.py", "test_demo.py"),
)
"""Files that take longest: first, so that several processes end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of ``LONG`` before all others."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


@pytest.fixture(autouse=True)
def own_project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs, registry and cache of a test lie in a folder of its own."""
    root = tmp_path_factory.mktemp("project")
    (root / "mlruns").mkdir()
    monkeypatch.setattr(project, "root", lambda: root)
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(root))
    for name in ("MLFLOW_TRACKING_URI", "DEBLUR_MODEL"):
        monkeypatch.setenv(name, "")  # so that what a test leaves (mlflow sets its own) goes with the test
        monkeypatch.delenv(name)
    return root


@pytest.fixture(scope="session")
def photos() -> dict[str, SharpPhoto]:
    """The installed photographs by name."""
    return {photo.name: photo for photo in installed_photos()}


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """Six real pairs, 160 to 200 px a side: blur/NAME and sharp/NAME."""
    folder = tmp_path_factory.mktemp("pairs")
    for kind in ("blur", "sharp"):
        (folder / kind).mkdir()
    names = ("astronaut", "coffee", "chelsea", "camera", "china", "rocket")
    for i, name in enumerate(names):
        crop = SharpPhoto(name, photos[name].pixels[40:240, 60:280])
        pair = shaken(crop, np.random.default_rng(i), 8.0)
        Image.fromarray(pair.blurry).save(folder / "blur" / f"{name}.png")
        Image.fromarray(pair.sharp).save(folder / "sharp" / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """Three sharp photos, 400 x 300 px."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(photos[name].pixels[:300, :400]).save(folder / f"{name}.png")
    return folder


def sharpening_network(seed: int = 0) -> DeblurUNet:
    """A small residual network whose correction is small but not zero."""
    torch.manual_seed(seed)
    network = DeblurUNet(8, residual=True)
    torch.nn.init.normal_(network.head.weight, std=0.02)
    return network


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of its own that is soon full; skips the test where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    if not sys.platform.startswith("linux") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root on Linux only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model folder, tiles of 128 px with 32 px overlap."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    network = sharpening_network()
    export_model(network, folder, name="tiny", tiling=Tiling(128, 32, network.size_rule))
    return folder


@pytest.fixture(scope="session", autouse=True)
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Networks are not traced anew; see ``quick_export``. Other processes of this run of tests share the folder."""
    run = tmp_path_factory.getbasetemp()
    folder = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "exports"
    folder.mkdir(exist_ok=True)
    os.environ[quick.FOLDER] = str(folder)
    with quick.quick_exports():
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_stores() -> Iterator[None]:
    """MLflow's migrations take 1.5 s a new database: here the first one runs them, and the others are its copies."""
    require_mlflow = tracking.require_mlflow
    empty = sqlite3.connect(":memory:", check_same_thread=False)

    @cache
    def copy_instead() -> None:
        from mlflow.store.db import utils

        migrate = utils._upgrade_db

        def upgrade(engine: Any) -> None:
            with closing(sqlite3.connect(engine.url.database)) as database:
                if empty.execute("SELECT 1 FROM sqlite_master").fetchone():
                    empty.backup(database)
                else:
                    migrate(engine)
                    database.backup(empty)

        patch.setattr(utils, "_upgrade_db", upgrade)

    def require() -> None:
        require_mlflow()
        copy_instead()

    with pytest.MonkeyPatch.context() as patch, closing(empty):
        patch.setattr(tracking, "require_mlflow", require)
        yield


pytest_plugins = ["tests.evaluation.planted"]
