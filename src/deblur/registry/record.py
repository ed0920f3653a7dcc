"""A training run on disk: the record is written first, and shipped to a tracker from there.

    run.json             name, status, times, settings, tags
    metrics.jsonl        one line an epoch: step, time, metrics
    panels/NAME/N.png    before / after / reference of a validation photo after epoch N
    best_model_*.pth     the best checkpoint
    model/               the exported, verified model folder
    shipped.json         how much of this the tracker has

Training needs nothing else: without a tracker the record is complete, and ``deblur ship`` replays it later.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from deblur.whole_file import whole_file

RUN_FILE, METRICS_FILE, SHIPPED_FILE = "run.json", "metrics.jsonl", "shipped.json"
PANELS, MODEL = "panels", "model"
BEST_PATTERN = "best_model_epoch_*_psnr_*.pth"
OWN_FILES = (RUN_FILE, METRICS_FILE, SHIPPED_FILE, PANELS, MODEL, BEST_PATTERN, "last.pth")
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
        record._set_aside()
        record.write_run({"name": name, "status": RUNNING, "started_ms": now_ms(), "settings": settings, "tags": tags})
        (folder / METRICS_FILE).touch()
        return record

    @property
    def run(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        values: dict[str, Any] = json.loads((self.folder / RUN_FILE).read_text(encoding="utf-8"))
        return values

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """All lines of ``metrics.jsonl``: ``{"epoch": 1, "time_ms": ..., "metrics": {...}}``."""
        return [json.loads(line) for line in (self.folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()]

    @property
    def best_checkpoint(self) -> Path | None:
        """The newest best checkpoint, once there is one."""
        return max(self.folder.glob(BEST_PATTERN), key=lambda path: int(path.name.split("_")[3]), default=None)

    @property
    def model_folder(self) -> Path:
        """Where the exported model lies."""
        return self.folder / MODEL

    def panels(self) -> list[tuple[str, int, Path]]:
        """(photo, epoch, file) of every panel, in the order in which they were made."""
        files = (self.folder / PANELS).glob("*/*.png")
        return sorted(((p.parent.name, int(p.stem), p) for p in files), key=lambda panel: (panel[1], panel[0]))

    def log_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Append one epoch's metrics."""
        line = json.dumps({"epoch": epoch, "time_ms": now_ms(), "metrics": metrics})
        with (self.folder / METRICS_FILE).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def log_panel(self, photo: str, epoch: int, panel: Image.Image) -> None:
        """Keep a panel of a validation photo."""
        name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in photo)
        path = self.folder / PANELS / name / f"{epoch:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        panel.save(path)

    def end(self, status: str, tags: dict[str, str] | None = None) -> None:
        """Close the record."""
        run = self.run
        self.write_run({**run, "status": status, "ended_ms": now_ms(), "tags": run["tags"] | (tags or {})})

    def write_run(self, values: dict[str, Any]) -> None:
        """Replace ``run.json``."""
        write_json(self.folder / RUN_FILE, values)

    def _set_aside(self) -> None:
        """Move what an earlier run left, and checkpoints that somebody put here, out of the way."""
        found = [path for pattern in OWN_FILES for path in self.folder.glob(pattern)]
        if not found:
            return
        started = self.run["started_ms"] if (self.folder / RUN_FILE).exists() else now_ms()
        earlier = self.folder / "earlier" / str(started)
        earlier.mkdir(parents=True, exist_ok=True)
        for path in found:
            path.rename(earlier / path.name)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """A reader sees the old file or the new one."""
    with whole_file(path) as stream:
        stream.write((json.dumps(values, indent=2, default=str) + "\n").encode("utf-8"))


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
