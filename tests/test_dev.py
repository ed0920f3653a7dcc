"""dev.py: the standard library only, short, and a word for every wrong start."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_it_needs_the_standard_library_only_and_stays_short() -> None:
    source = (ROOT / "dev.py").read_text(encoding="utf-8")
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").split(".")[0])
    assert modules <= sys.stdlib_module_names
    assert source.count("\n") < 100


def test_without_a_task_it_says_what_it_can_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev.py")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "python dev.py demo" in done.stderr


def test_ci_runs_the_test_command() -> None:
    assert "dev.py test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
