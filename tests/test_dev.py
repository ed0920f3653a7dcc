"""dev.py: the standard library only, short, and a word for every wrong start."""

import ast
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """dev.py where everything is set up, and where ``deblur demo`` takes half a second to stop."""
    for name in ("dev.py", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    pins = [(tmp_path / name).read_bytes() for name in ("dev.py", "pyproject.toml", "requirements.txt")]
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "set-up").write_text(hashlib.sha256(b"".join(pins)).hexdigest())
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "deblur.py").write_text(
        "import time\ntry:\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.5)\n    print('saved', flush=True)\n    raise SystemExit(130)\n"
    )
    return tmp_path / "dev.py"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_lets_the_demo_stop_in_its_own_way_and_is_told_in_a_sentence(copy: Path) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, str(copy), "demo"]
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (out, error, process.returncode) == ("saved\n", "dev.py: stopped by Ctrl-C.\n", 130)


@pytest.mark.skipif(os.name == "nt", reason="the environment is made of links")
@pytest.mark.parametrize(
    ("end", "code", "shown"), [("raise SystemExit(6)", 6, 6), ("os.kill(os.getpid(), 9)", -9, 137)]
)
def test_a_command_that_fails_is_named_and_its_exit_code_is_ours(copy: Path, end: str, code: int, shown: int) -> None:
    copy.with_name("deblur.py").write_text(f"import os\n{end}\n")
    done = subprocess.run([sys.executable, str(copy), "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == shown
    assert done.stderr == f"dev.py: {copy.parent}/.venv/bin/python -m deblur demo ... ended with {code}.\n"


@pytest.mark.skipif(os.name == "nt", reason="the environment is made of links")
def test_setup_ends_with_what_to_do_next(copy: Path) -> None:
    done = subprocess.run([sys.executable, str(copy), "setup"], capture_output=True, text=True, check=True)
    assert "Next: python dev.py demo, or" in done.stdout
