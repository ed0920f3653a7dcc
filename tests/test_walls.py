"""The walls of the house: what is deployed stays small, imports run one way, nothing private lies in the tree."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "deblur"

ORDER = (
    ("errors", "project", "addresses", "files", "interval"),
    ("jpeg_pixels", "png_chunks", "deep", "pages"),
    ("colour", "metadata", "image_kinds"),
    ("image_limits",),
    ("images",),
    ("inference",),
    ("serving",),
    ("weights",),
    ("synthesis",),
    ("data",),
    ("models",),
    ("metrics",),
    ("losses",),
    ("evaluation",),
    ("export",),
    ("registry",),
    ("library",),
    ("training",),
    ("benchmarks",),
    ("demo", "staging"),
    ("cli",),
    ("__main__",),
)
"""A module imports from its own row and the rows above."""


def row_of(module: str) -> int:
    return next(i for i, names in enumerate(ORDER) if module in names)


def imports_of(path: Path) -> list[tuple[str, int]]:
    """Every (module, line) that a file imports, at its top or inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module != "deblur":
                found.append((node.module, node.lineno))
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def test_imports_run_one_way() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        own = path.relative_to(SOURCE).with_suffix("").parts[0]
        if own == "__init__":
            continue
        for module, line in imports_of(path):
            parts = module.split(".")
            inside = parts[0] == "deblur" and len(parts) > 1 and parts[1] != "__version__"
            if inside and row_of(parts[1]) > row_of(own):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_settings_stop_at_the_recipes() -> None:
    """Only the recipes take the settings: ``recipe.py``, and ``existing.py`` and ``sweep.py``, recipes of their own."""
    recipes = {"training/recipe.py", "training/existing.py", "training/sweep.py", "training/settings.py"}
    above = {"benchmarks", "demo", "cli"}
    wrong = []
    for path in SOURCE.rglob("*.py"):
        inside = path.relative_to(SOURCE)
        if inside.as_posix() in recipes or inside.with_suffix("").parts[0] in above:
            continue
        wrong += [f"{inside}:{line}" for module, line in imports_of(path) if module == "deblur.training.settings"]
        wrong += [str(inside) for word in ("Settings", "config") if word in names_in(path)]
    assert not wrong, "\n".join(wrong)


def names_in(path: Path) -> set[str]:
    """Names that a file uses, without the words it prints; those that end in Settings count as Settings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names | {"Settings" for name in names if name.endswith("Settings")}


FLAG = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"'(deblur|python)[^']*'|^deblur .*|pip install .*|curl .*|``.*``")


def test_below_the_command_line_nothing_speaks_of_its_flags() -> None:
    """A message names the parameter; whole commands that a person may give are something else."""
    wrong = []
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] in ("cli", "demo.py"):
            continue
        wrong += [f"{path.relative_to(SOURCE)}: {said}" for said in sentences_in(path) if FLAG.search(said)]
    assert not wrong, "\n".join(wrong)


def sentences_in(path: Path) -> list[str]:
    """Strings of several words, with ``X`` for what is filled in, and without commands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in filled for part in node.values}
    plain = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts]
    said = ["".join(str(getattr(part, "value", "X")) for part in node.values) for node in filled]
    said += [node.value for node in plain if isinstance(node.value, str)]
    said = [COMMAND.sub("", re.sub("<ast[^>]*>", "X", line)) for text in said for line in text.splitlines()]
    return [line for line in said if len(line.split()) > 2]


def test_only_the_registry_imports_mlflow() -> None:
    importers = {
        path.relative_to(SOURCE).parts[0]
        for path in SOURCE.rglob("*.py")
        if any(module.split(".")[0] == "mlflow" for module, _ in imports_of(path))
    }
    assert importers == {"registry"}


def test_what_is_deployed_imports_neither_torch_nor_mlflow() -> None:
    program = (
        "import sys, function_app, deblur.images, deblur.inference.files, deblur.inference.model_folder\n"
        "import deblur.serving.api, deblur.serving.model_store, deblur.serving.registry_client\n"
        "heavy = {'torch', 'mlflow', 'scipy', 'skimage', 'matplotlib', 'sklearn', 'pandas', 'tyro', 'rich'}\n"
        "heavy |= {'onnxruntime', 'openvino'}  # only when an engine is opened\n"
        "print(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_scoring_needs_neither_torch_nor_a_loss() -> None:
    modules = sorted(f"deblur.evaluation.{path.stem}" for path in (SOURCE / "evaluation").glob("[!_]*.py"))
    program = f"import sys, {', '.join(modules)}; print('torch' in sys.modules, 'deblur.losses' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_no_two_modules_import_each_other() -> None:
    """Within a room, too, also inside functions; what a package's ``__init__`` offers is not counted."""
    needs: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        name = ".".join(("deblur", *path.relative_to(SOURCE).with_suffix("").parts))
        if not name.endswith("__init__"):
            needs[name] = {module for module, _ in imports_of(path)}

    def reached(start: str) -> set[str]:
        seen, ahead = set[str](), list(needs[start] & needs.keys())
        while ahead:
            module = ahead.pop()
            if module not in seen:
                seen.add(module)
                ahead += needs[module] & needs.keys()
        return seen

    assert not [name for name in needs if name in reached(name)]


def test_training_imports_no_mlflow_until_it_is_wanted() -> None:
    program = "import sys, deblur.cli, deblur.training.recipe; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_training_settles_how_torch_waits_before_it_imports_torch() -> None:
    program = (
        "import os, sys, deblur.cli as cli; print('torch' in sys.modules)\n"
        "cli.main(['train', '--dry_run']); print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    said = done.stdout.splitlines()
    assert (said[0], said[-1]) == ("False", "True 1000")


def pins(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith("#"):
            found.setdefault(line.split("==")[0], set()).add(line.strip())
    return found


def test_azure_installs_the_same_versions_and_nothing_heavy() -> None:
    deployed, everything = pins(ROOT / "function_app" / "requirements.txt"), pins(ROOT / "requirements.txt")
    assert {"numpy", "pillow", "onnxruntime", "openvino", "starlette", "azure-functions"} <= deployed.keys()
    assert not {"torch", "mlflow"} & deployed.keys()
    assert all(everything[name] == lines for name, lines in deployed.items())


def test_no_photograph_and_no_run_is_committed() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = [Path(line) for line in done.stdout.splitlines()]
    pictures = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
    stray = [f for f in files if f.suffix.lower() in pictures and f.parts[0] != "documentation"]
    runs = [f for f in files if f.parts[0] in ("mlruns", "checkpoints") and f.name != ".gitkeep"]
    assert not stray
    assert not runs
