"""What a server counts, as the text that Prometheus reads."""

from collections import Counter
from collections.abc import Iterable
from threading import Lock

Sample = tuple[str, dict[str, str], float]
"""Name, labels and value."""

FAMILIES = {
    "deblur_requests_total": ("counter", "Requests of what is served, by path, HTTP status and problem code."),
    "deblur_megapixels_total": ("counter", "Megapixels restored, by model."),
    "deblur_stage_seconds": ("summary", "Seconds of a photo by stage: read, wait, decode, restore, encode."),
    "deblur_guarded_photos_total": (
        "counter",
        "Photos in which the guard put the input in a broken part, by model.",
    ),
    "deblur_photos_inside": ("gauge", "Photos that were taken and not yet answered."),
    "deblur_places": ("gauge", "Photos that are taken at most; the next is told to come back."),
    "deblur_model_age_seconds": ("gauge", "How long the model is served, by name, version and source."),
    "deblur_seconds_per_megapixel": ("gauge", "How fast this machine restores now, by model."),
}
ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Metrics:
    """Counters that only grow, from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Count so many more."""
        with self._lock:
            self._values[name, tuple(labels.items())] += value  # type: ignore[assignment]

    def observe(self, stage: str, seconds: float) -> None:
        """A stage of a photo took so long."""
        self.add("deblur_stage_seconds_sum", seconds, stage=stage)
        self.add("deblur_stage_seconds_count", stage=stage)

    def text(self, gauges: Iterable[Sample]) -> str:
        """All of it, and what is true now, in Prometheus' format 0.0.4."""
        with self._lock:
            samples = [(name, dict(labels), float(value)) for (name, labels), value in self._values.items()]
        samples += gauges
        lines = []
        for family, (kind, told) in FAMILIES.items():
            lines += [f"# HELP {family} {told}", f"# TYPE {family} {kind}"]
            names = (family, f"{family}_sum", f"{family}_count")
            lines += [f"{name}{_labels(labels)} {value:.12g}" for name, labels, value in samples if name in names]
        return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    return (
        "{" + ",".join(f'{key}="{value.translate(ESCAPED)}"' for key, value in labels.items()) + "}" if labels else ""
    )
