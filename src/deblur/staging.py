"""The folder that is deployed: the Functions app, the modules that it reaches, a model, and what must be installed.

Which modules these are is found by following imports, also those inside functions, from ``function_app`` on. So no
list has to be kept, and what belongs to training stays at home. What a package's ``__init__`` offers to programs is
not followed: ``deblur.restore`` is not deployed.
"""

import ast
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deblur.errors import SettingError
from deblur.files import pasteable
from deblur.inference.model_folder import CARD_FILE, JSON_FILE, ONNX_FILE, ModelInfo, whole_info

Engine = Literal["openvino", "onnxruntime"]

OF_ENGINE: dict[Engine, tuple[str, ...]] = {
    "openvino": ("openvino", "openvino-telemetry"),
    "onnxruntime": ("onnxruntime", "flatbuffers", "packaging", "protobuf"),
}
"""What is installed for one engine alone."""

AT_THE_ROOT = ("host.json", "function_app.py")
REQUIREMENTS = "requirements.txt"
NAMES = "names.txt"
"""Names the models that lie beside it, a line each, the default first."""


@dataclass(frozen=True)
class Staged:
    """What was staged.

    Args:
        models: what describes each model.
        modules: how many files of Python there are.
        code_bytes: all files but the models'.
        model_bytes: the models' files.
    """

    models: list[ModelInfo]
    modules: int
    code_bytes: int
    model_bytes: int


def stage(root: Path, models: Mapping[str, Path], out: Path, engine: Engine = "openvino") -> Staged:
    """Write the folder that is deployed; it is there whole or not at all.

    Args:
        root: the checkout.
        models: model folders by name, the default first; one without a name is alone.
        out: where to; an earlier staged folder is replaced.
        engine: what runs the network there.

    Raises:
        ModelError: a model folder is broken.
        SettingError: ``root`` is no checkout, or ``out`` is there and was not staged.
    """
    if not (root / "function_app" / REQUIREMENTS).is_file():
        raise SettingError(f"{pasteable(root)} holds no function_app. Run this in a clone of the repository.")
    infos = [whole_info(model) for model in models.values()]
    modules = deployed_modules(root)
    with _new_folder(out) as folder:
        for file in (*(root / name for name in AT_THE_ROOT), root / "infra" / ".funcignore"):
            shutil.copy(file, folder)
        for file in (*modules, *_data_beside(modules, root / "src" / "deblur")):
            base = root / "src" if file.is_relative_to(root / "src") else root
            target = folder / file.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        (folder / REQUIREMENTS).write_text(_requirements(root, engine), encoding="utf-8")
        code_bytes = _size(folder)
        for name, model in models.items():
            _copy_model(model, folder / "models" / name if name else folder / "model")
        if "" not in models:
            (folder / "models" / NAMES).write_text("\n".join(models) + "\n", encoding="utf-8")
        return Staged(infos, len(modules), code_bytes, _size(folder) - code_bytes)


def deployed_modules(root: Path) -> list[Path]:
    """The files of ``function_app`` and of all modules of ``deblur`` that they import, directly or not."""
    source = root / "src"
    found, ahead = set[Path](), sorted((root / "function_app").glob("*.py"))
    while ahead:
        file = ahead.pop()
        if file in found:
            continue
        found.add(file)
        if file != source / "deblur" / "__init__.py":
            for module in _imported(file):
                ahead += _files_of(module, source)
    return sorted(found)


def _imported(file: Path) -> Iterator[str]:
    """Each module that a file imports, and each name that it takes from one, for that may be a module, too."""
    for node in _nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All below ``node``, but for what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _nodes(child)


def _files_of(module: str, source: Path) -> list[Path]:
    """The files of ``deblur`` that Python reads for ``import module``: its own, and those of the packages around it."""
    parts = module.split(".")
    if parts[0] != "deblur":
        return []
    places = [source.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    files = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
    return [file for file in files if file.is_file()]


def _data_beside(modules: list[Path], package: Path) -> list[Path]:
    """What lies in the packages of ``modules`` and is no Python: an API's description, a page."""
    folders = {file.parent for file in modules if file.is_relative_to(package)} - {package}
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file()}
    return sorted(file for file in files if file.suffix not in (".py", ".pyc"))


def _requirements(root: Path, engine: Engine) -> str:
    """The pins of ``function_app``, without those of the other engine."""
    lines = (root / "function_app" / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    others = {name for other, names in OF_ENGINE.items() if other != engine for name in names}
    kept = (line for line in lines if not line.startswith("#") and line.partition("==")[0] not in others)
    return "\n".join(kept) + "\n"


def _copy_model(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name in (ONNX_FILE, JSON_FILE, CARD_FILE):
        if (source / name).is_file():
            shutil.copy(source / name, target)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that takes the place of ``out`` when all is written."""
    if out.exists() and not all((out / name).is_file() for name in (*AT_THE_ROOT, REQUIREMENTS)):
        raise SettingError(f"{pasteable(out)} is there, and is no folder that was staged. Name another one.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        new = Path(beside) / "new"
        new.mkdir()
        yield new
        if out.exists():
            out.rename(Path(beside) / "old")
        new.rename(out)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
