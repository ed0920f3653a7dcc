"""What git says about the checkout that the package runs from."""

import subprocess
from pathlib import Path

import pytest

from deblur import project


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *arguments], cwd=folder, check=True)


def test_the_commit_is_the_checkouts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "first")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    monkeypatch.setattr(project, "CHECKOUT", tmp_path)
    commit, dirty = project.git_state()
    assert commit
    assert not dirty
    monkeypatch.setattr(project, "CHECKOUT", unpacked)
    assert project.git_state() == (None, False), "the repository around it is of others"
    monkeypatch.chdir(tmp_path)
    assert project.git_tags() == {"git_commit": "unknown", "git_dirty": "false"}, "so is the one that one works in"
