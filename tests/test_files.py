"""A file is the old one or the new one."""

from pathlib import Path

import pytest

from deblur.errors import DiskFull
from deblur.files import whole_file
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
