"""The memory that a model takes to restore a photo, in a process of its own.

``python -m deblur.evaluation.footprint MODEL_FOLDER PHOTO`` prints its peak in MB.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from deblur.errors import ModelError
from deblur.images import Photo, Rgb8, encode, read
from deblur.inference.model_folder import open_model
from deblur.inference.photo import restore_photo


def footprint_mb(folder: Path, pixels: Rgb8) -> float:
    """The most memory that a process has which opens a model folder and restores ``(H, W, 3)`` uint8, MB (1e6 bytes).

    Raises:
        ModelError: the process failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        photo = Path(scratch) / "photo.png"
        photo.write_bytes(encode(Photo(pixels)))
        command = [sys.executable, "-m", "deblur.evaluation.footprint", str(folder), str(photo)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise ModelError(f"The memory of {folder} could not be measured: {said[-1]}")
    return float(done.stdout)


def peak_mb() -> float:
    """The most memory this process has had, MB (1e6 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count the parent's, too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    restore_photo(open_model(Path(sys.argv[1])), read(Path(sys.argv[2])))
    print(peak_mb())
