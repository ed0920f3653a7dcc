"""The memory that a model takes to restore a photo, in a process of its own.

``python -m deblur.evaluation.footprint MODEL_FOLDER HEIGHT_PX WIDTH_PX`` prints its peak in MB.
"""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np

from deblur.errors import ModelError
from deblur.images import Photo
from deblur.inference.model_folder import open_model
from deblur.inference.photo import restore_photo


def footprint_mb(folder: Path, height_px: int, width_px: int) -> float:
    """The most memory that a process has which opens a model folder and restores such a photo, as :func:`peak_mb`.

    Raises:
        ModelError: the process failed.
    """
    command = [sys.executable, "-m", "deblur.evaluation.footprint", str(folder), str(height_px), str(width_px)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise ModelError(f"The memory of {folder} could not be measured: {said[-1]}")
    return float(done.stdout)


def peak_mb() -> float:
    """The most memory this process has had, MB (1e6 bytes); not a number where the system does not say: Windows."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count the parent's, too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    folder, height_px, width_px = sys.argv[1:]
    restore_photo(open_model(Path(folder)), Photo(np.zeros((int(height_px), int(width_px), 3), np.uint8)))
    print(peak_mb())
