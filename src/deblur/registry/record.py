"""A training run on disk: the record is written first, and shipped to a tracker from there.

    run.json             id, name, status, times, settings, tags, datasets
    metrics.jsonl        one line an epoch: step, time, metrics
    events.jsonl         what a person should know: resumed, skipped steps, rolled back, left out images
    panels/NAME/N.png    before / after / reference of a validation photo after epoch N
    best_model_*.pth     the best checkpoint
    last.pth previous.pth  what resuming needs (models/checkpoint.py)
    model/               the exported, verified model folder
    registered.json      name and version, once registered
    shipped.json         how much of this the tracker has

Training needs nothing else: without a tracker the record is complete, and ``deblur ship`` replays it later. A run that
is resumed keeps its record; what it does again after a kill is not recorded twice.
"""

import itertools
import json
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deblur.data.folders import EARLIER, PANELS, RUN_FILE
from deblur.errors import SettingError
from deblur.files import sync, told_when_full, whole_file, write_json

METRICS_FILE, EVENTS_FILE = "metrics.jsonl", "events.jsonl"
SHIPPED_FILE, REGISTERED_FILE = "shipped.json", "registered.json"
MODEL = "model"
PHOTO = "photo"
"""The text in a panel's PNG that names its photo."""
BEST_PATTERN = "best_model_epoch_*_psnr_*.pth"
STATE_FILES = ("next.pth", "last.pth", "last.json", "previous.pth", "previous.json")
OWN_FILES = (METRICS_FILE, EVENTS_FILE, SHIPPED_FILE, REGISTERED_FILE, PANELS, MODEL, BEST_PATTERN)
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"


@dataclass(frozen=True)
class RunRecord:
    """The record in ``folder``."""

    folder: Path

    @classmethod
    def begin(cls, folder: Path, name: str, settings: dict[str, Any], tags: dict[str, str]) -> "RunRecord":
        """Start a record; an earlier run's files in ``folder`` move to ``earlier/`` inside it."""
        folder.mkdir(parents=True, exist_ok=True)
        record = cls(folder)
        record.set_aside()
        run = {"id": uuid.uuid4().hex, "name": name, "status": RUNNING, "started_ms": now_ms()}
        record.write_run(run | {"settings": settings, "tags": tags})
        return record

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.folder / RUN_FILE).is_file()

    @property
    def run(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        try:
            values: dict[str, Any] = json.loads((self.folder / RUN_FILE).read_text(encoding="utf-8"))
        except ValueError as error:
            raise SettingError(
                f"{self.folder / RUN_FILE} is broken ({error}). Move it away: the run's other files are set aside with "
                "the next start."
            ) from error
        return values

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """All lines of ``metrics.jsonl``: ``{"epoch": 1, "time_ms": ..., "metrics": {...}}``."""
        return _read_lines(self.folder / METRICS_FILE)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All lines of ``events.jsonl``: ``{"event": "skipped_step", "time_ms": ..., ...}``."""
        return _read_lines(self.folder / EVENTS_FILE)

    @property
    def best_checkpoint(self) -> Path | None:
        """The newest best checkpoint, once there is one."""
        return max(self.folder.glob(BEST_PATTERN), key=lambda path: int(path.name.split("_")[3]), default=None)

    @property
    def model_folder(self) -> Path:
        """Where the exported model lies."""
        return self.folder / MODEL

    @property
    def registered(self) -> bool:
        """Whether this run's model was registered, with which a run that registers ends."""
        return (self.folder / REGISTERED_FILE).is_file()

    @property
    def unshipped(self) -> str:
        """What the tracker lacks, for people."""
        lines, shipped = len(self.epochs), 0
        with suppress(OSError, ValueError, KeyError):
            shipped = json.loads((self.folder / SHIPPED_FILE).read_text(encoding="utf-8"))["epochs"]
        return f"{lines - shipped} of {lines} lines of metrics"

    @property
    def facts(self) -> dict[str, Any]:
        """What a model card tells of the run: settings, where it ran, datasets, and what training and validation took,
        seconds and kJ; None where an earlier version did not count it, or the machine does not tell."""
        run = self.run
        trained = [line["metrics"] for line in self.epochs if "seconds" in line["metrics"]] or [{}]
        return {
            "settings": {key: value for key, value in run["settings"].items() if value not in (None, "", [])},
            "tags": run["tags"],
            "datasets": run.get("datasets", []),
            "seconds": trained[-1].get("train_seconds"),
            "energy_kj": trained[-1].get("train_energy_kj"),
        }

    def panels(self) -> list[tuple[str, int, Path]]:
        """(photo, epoch, file) of every panel, in the order in which they were made."""
        files = (self.folder / PANELS).glob("*/*.png")
        return sorted(((p.parent.name, int(p.stem), p) for p in files), key=lambda panel: (panel[1], panel[0]))

    def log_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Append an epoch's metrics. Those it has already, from before a kill, stay as they are."""
        known = {key for line in self.epochs if line["epoch"] == epoch for key in line["metrics"]}
        new = {key: value for key, value in metrics.items() if key not in known}
        if new:
            _append_line(self.folder / METRICS_FILE, {"epoch": epoch, "time_ms": now_ms(), "metrics": new})

    def log_event(self, event: str, **details: Any) -> None:
        """Append an event."""
        _append_line(self.folder / EVENTS_FILE, {"event": event, "time_ms": now_ms(), **details})

    def log_panel(self, photo: str, epoch: int, panel: Image.Image) -> None:
        """Keep a panel of a validation photo; one that is there already stays."""
        path = self._panel_folder(photo) / f"{epoch:05d}.png"
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        told = PngInfo()
        told.add_itxt(PHOTO, unicode_text(photo))
        with whole_file(path) as stream:
            panel.save(stream, "PNG", pnginfo=told)

    def _panel_folder(self, photo: str) -> Path:
        """The photo's own folder: several names may become the same safe one. Its panels say whose it is."""
        safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in photo)
        for number in itertools.count(1):
            folder = self.folder / PANELS / (safe if number == 1 else f"{safe}-{number}")
            if _photo_of(folder) in (None, unicode_text(photo)):
                break
        return folder

    def log_datasets(self, datasets: Sequence[dict[str, Any]]) -> None:
        """Note what the run trains and validates on: name, source, digest, context, images and licence of each."""
        self.write_run({**self.run, "datasets": list(datasets)})

    def log_version(self, name: str, version: str) -> None:
        """Note that this run's model is registered."""
        write_json(self.folder / REGISTERED_FILE, {"name": name, "version": version})

    def end(self, status: str, tags: dict[str, str] | None = None) -> None:
        """Close the record."""
        run = self.run
        self.write_run({**run, "status": status, "ended_ms": now_ms(), "tags": run["tags"] | (tags or {})})

    def reopen(self, settings: dict[str, Any], tags: dict[str, str]) -> None:
        """Go on with a record that was closed, or left open by a kill."""
        run = {key: value for key, value in self.run.items() if key != "ended_ms"}
        self.write_run(run | {"status": RUNNING, "settings": settings, "tags": run["tags"] | tags})

    def write_run(self, values: dict[str, Any]) -> None:
        """Replace ``run.json``."""
        write_json(self.folder / RUN_FILE, values)

    def set_aside(self) -> None:
        """Move what an earlier run left, and checkpoints that somebody put here, out of the way.

        ``run.json`` comes last: after a kill the rest follows to the same place.
        """
        patterns = (*OWN_FILES, *STATE_FILES, RUN_FILE)
        self.move_aside([path for pattern in patterns for path in self.folder.glob(pattern)])

    def move_aside(self, paths: Iterable[Path]) -> None:
        """Move files into ``earlier/STARTED`` inside the folder; nothing is deleted."""
        started = self.run["started_ms"] if self.exists else now_ms()
        earlier = self.folder / EARLIER / str(started)
        for path in paths:
            earlier.mkdir(parents=True, exist_ok=True)
            free = (path.name if n == 0 else f"{path.name}.{n}" for n in itertools.count())
            path.rename(next(earlier / name for name in free if not (earlier / name).exists()))


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def unicode_text(name: str) -> str:
    """A photo's name; bytes of a file name that are no Unicode are written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _photo_of(folder: Path) -> str | None:
    """Whose panels lie in ``folder``; None where there are none, or only some from before they said so."""
    newest = max(folder.glob("*.png"), default=None)
    if newest is None:
        return None
    with suppress(OSError), Image.open(newest) as panel:
        return panel.info.get(PHOTO)
    return None


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: the last one may be half-written, now or for ever."""
    whole, _, _ = path.read_bytes().rpartition(b"\n") if path.is_file() else (b"", b"", b"")
    return [json.loads(line) for line in whole.splitlines()]


def _append_line(path: Path, values: dict[str, Any]) -> None:
    """Add a line; half a line that a kill left is cut off first."""
    with told_when_full(path), path.open("a+b") as stream:
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(json.dumps(values, default=str).encode("utf-8") + b"\n")
        sync(stream)
