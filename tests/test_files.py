"""A file is the old one or the new one."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deblur.errors import DiskFull
from deblur.files import pasteable, sole_user, whole_file
from tests.conftest import small_disk


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), whole_file(path) as stream:
        stream.writelines([b"half", "not bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"], "and no half one beside it"
    with whole_file(path) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_told_by_name(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64) as disk:
        path = disk / "a"
        with whole_file(path) as stream:
            stream.write(b"old")
        with pytest.raises(DiskFull, match=r"disk/a cannot be written: No space left"), whole_file(path) as stream:
            stream.write(bytes(1_000_000))
        assert path.read_bytes() == b"old"
        assert [p.name for p in disk.iterdir()] == ["a"]


def test_a_file_system_that_lacks_a_call_is_used_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lacking(*arguments: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", lacking)
    with whole_file(tmp_path / "a") as stream:
        stream.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    for code in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
        caplog.clear()

        def no_locks(*arguments: object, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr("fcntl.flock", no_locks)
        with sole_user(tmp_path, "taken"), sole_user(tmp_path, "taken"):
            pass
        assert "has no locks. Going on without" in caplog.text


def test_a_disk_that_fails_is_told_and_the_file_that_could_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output error") as caught, whole_file(tmp_path / "a") as stream:
        stream.write(b"new")
    assert caught.value.filename == str(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_file_that_another_program_has_open_is_replaced_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = os.replace, [errno.EACCES, errno.EBUSY]

    def held(source: Path, target: Path) -> None:
        if refusals:
            raise PermissionError(refusals[0], os.strerror(refusals.pop()), str(source))
        real(source, target)

    monkeypatch.setattr(os, "replace", held)
    with whole_file(tmp_path / "a") as stream:
        stream.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    with pytest.raises(OSError, match="directory") as caught, whole_file(tmp_path) as stream:
        stream.write(b"a folder in its place")
    assert caught.value.filename == str(tmp_path)


def test_a_temporary_name_is_never_too_long(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127, "x" * 21, "a"):
        with whole_file(tmp_path / name) as stream:
            (part,) = tmp_path.glob("*.part")
            assert len(os.fsencode(part.name)) <= max(len(os.fsencode(name)), 25)
            with whole_file(tmp_path / f"{name[:-1]}b") as other:  # a name alike does not meet it
                other.write(b"other")
            stream.write(b"one")
        assert (tmp_path / name).read_bytes() == b"one"
        for path in tmp_path.iterdir():
            path.unlink()


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize(
    "name",
    [b"a.jpg", b"a b.jpg", b"it's.jpg", b"a\nb'\\c\x1b[31m.jpg", b"\xff1.jpg", "à\u00a0写.jpg".encode(), b"$HOME`x`"],
)
def test_a_name_can_be_pasted_into_a_shell(name: bytes) -> None:
    shown = pasteable(os.fsdecode(name))
    assert shown.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True)
    assert done.stdout == name


def test_a_passing_folder_goes_with_its_process() -> None:
    program = "from deblur.files import passing_folder as f; made = f('deblur-'); (made / 'a').touch(); print(made)"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert Path(said.strip()).name.startswith("deblur-")
    assert not Path(said.strip()).exists()
