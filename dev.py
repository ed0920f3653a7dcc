"""The commands of this repository, each with its own set-up; needs Python 3.11 or 3.12 and nothing else.

python dev.py demo [--photos FOLDER]   train, track, register, serve and restore, a few minutes on two cores
python dev.py test [PYTEST OPTIONS]    format, lint, types and tests
python dev.py setup                    the set-up alone
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "set-up"
# Microsoft's worker library for the tests: it runs on 3.11 although it declares 3.13, so pip must be told.
WORKER = ["azure-functions-runtime==1.3.0", "azurefunctions-extensions-base==1.1.0"]


def set_up() -> None:
    """Make the virtual environment and install the pinned dependencies, once for each state of the pins."""
    pins = [(ROOT / name).read_bytes() for name in ("dev.py", "pyproject.toml", "requirements.txt")]
    state = hashlib.sha256(b"".join(pins)).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == state:
        return
    print("Setting up .venv: pinned dependencies, a few minutes the first time.", flush=True)
    try:
        if not STAMP.is_file():  # also what an interrupted set-up left
            venv.create(VENV, with_pip=True, clear=True, symlinks=os.name != "nt")
    except subprocess.CalledProcessError:
        sys.exit("dev.py: no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-r", str(ROOT / "requirements.txt")])
    run([*pip, "--no-deps", "--ignore-requires-python", *WORKER])
    run([*pip, "--no-deps", "-e", str(ROOT)])
    STAMP.write_text(state)


def run(command: list[str]) -> None:
    """Run a command at the root; its failure is ours. Ctrl-C reaches it, too, and it is waited for while it stops."""
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code:
        print(f"dev.py: {' '.join(command[:4])} ... ended with {code}.", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)  # of a signal, as a shell has it


def test(options: list[str]) -> None:
    """Format, lint, types, tests: a process a core, at most four, each test file in one of them, long ones first."""
    run([str(PYTHON), "-m", "ruff", "format", "--check", "."])
    run([str(PYTHON), "-m", "ruff", "check", "."])
    run([str(PYTHON), "-m", "mypy"])
    several = ["--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile", "--no-loadscope-reorder"]
    run([str(PYTHON), "-m", "pytest", *several, *options])


def main(arguments: list[str]) -> None:
    """Set up, then run the task."""
    task, options = (arguments[0], arguments[1:]) if arguments else ("", [])
    if task not in ("demo", "test", "setup"):
        sys.exit((__doc__ or "").strip())
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        sys.exit(
            f"dev.py: this is Python {sys.version.split()[0]}; Python 3.11 or 3.12 is needed: python3.11 dev.py {task}"
        )
    for at, option in enumerate(options):  # relative to where the person stands; the demo runs at the root
        if option.startswith("--photos="):
            options[at] = f"--photos={Path(option.partition('=')[2]).resolve()}"
        elif options[at - 1 : at] == ["--photos"]:
            options[at] = str(Path(option).resolve())
    set_up()
    if task == "demo":
        run([str(PYTHON), "-m", "deblur", "demo", *options])
    elif task == "test":
        test(options)
    else:
        print(f"Set up: {VENV}. Next: python dev.py demo, or {BIN / 'deblur'} --help")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        print("dev.py: stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)
