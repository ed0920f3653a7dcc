"""Hashes of files, remembered: what did not change is not read again."""

import json
import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deblur.data.parallel import OnProgress, in_parallel
from deblur.errors import DataError
from deblur.files import replace, sha256_of, write_whole

SAVE_INDEX_S = 30.0
YOUNG_NS = 2_000_000_000
"""A file that changed less than this before it was hashed may change again without its time telling."""

FileState = tuple[int, int]
"""A file's size and time of change, ns."""


class Hashes:
    """The sha256 of files, remembered in the index while size and time of change stay.

    Args:
        index: where they are remembered.
        parts: a folder beside it, for what is being written.
    """

    def __init__(self, index: Path, parts: Path) -> None:
        self.index, self.parts = index, parts
        self.known: dict[str, tuple[int, int, str]] = {}
        self.states: dict[Path, FileState] = {}
        self.of: dict[Path, str] = {}
        try:
            read: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
            self.known = {path: (int(size), int(changed), str(sha)) for path, (size, changed, sha) in read.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # not there yet, or damaged: hashing again is all that is lost

    def add(self, files: Iterable[Path], tell: OnProgress) -> dict[Path, str]:
        """Hash those that are new or changed; returns a sentence for each that cannot be read."""
        unknown, troubles = list[Path](), dict[Path, str]()
        for file in sorted(files):
            try:
                self.states[file] = _state(file)
            except OSError as error:
                troubles[file] = _cannot_read(file, error)
                continue
            size, changed, sha = self.known.get(os.path.abspath(file), (-1, -1, ""))
            if (size, changed) == self.states[file]:
                self.of[file] = sha
            else:
                unknown.append(file)
        saved = time.monotonic()
        try:
            for done, (file, future) in enumerate(in_parallel(sha256_of, unknown), 1):
                try:
                    self._remember(file, future.result())
                except OSError as error:
                    troubles[file] = _cannot_read(file, error)
                tell("hashed", done, len(unknown))
                if time.monotonic() - saved > SAVE_INDEX_S:
                    self._save()
                    saved = time.monotonic()
        finally:
            if unknown:
                self._save()
        return troubles

    def check_unchanged(self, file: Path) -> None:
        """Refuse what was written while it was hashed and decoded: the hash would stand for other pixels."""
        try:
            same = _state(file) == self.states[file]
        except OSError as error:
            raise DataError(_cannot_read(file, error)) from error
        if not same:
            raise DataError(f"{file} changed while it was read. Give the same command again when it is finished.")

    def _remember(self, file: Path, sha: str) -> None:
        self.of[file] = sha
        size, changed = self.states[file]
        if time.time_ns() - changed > YOUNG_NS:
            self.known[os.path.abspath(file)] = (size, changed, sha)

    def _save(self) -> None:
        """Of two builders' indices the last one stays: the other's files are hashed again some time."""
        part = self.parts / f"{uuid.uuid4().hex}.json"
        write_whole(part, json.dumps(self.known).encode())
        replace(part, self.index)


def _state(file: Path) -> FileState:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _cannot_read(file: Path, error: OSError) -> str:
    return f"{file} cannot be read ({error.strerror})."
