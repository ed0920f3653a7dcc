"""Where things lie: the checkout that this package runs from, what git says about it, and the processor."""

import platform
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder of our ``pyproject.toml``, unless the package is installed elsewhere."""


def root() -> Path:
    """The checkout's root; for a package installed elsewhere, the current folder."""
    return CHECKOUT if (CHECKOUT / "pyproject.toml").is_file() else Path.cwd()


def git_state() -> tuple[str | None, bool]:
    """(commit, whether the tree differs from it); (None, False) outside git, and inside the repository of others."""
    try:
        top, commit = _git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if not CHECKOUT.samefile(top):
            return None, False
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, False


def git_tags() -> dict[str, str]:
    """The same as tags of a run."""
    commit, dirty = git_state()
    return {"git_commit": commit or "unknown", "git_dirty": str(dirty).lower()}


def processor() -> str:
    """The processor's name; Linux keeps it in ``/proc/cpuinfo``."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
