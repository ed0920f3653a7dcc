"""How long the staged app takes: from the import to its first answer, then for photos of several sizes.

In the staged folder, with the Python of an environment that has its requirements alone:
``CLEAN/bin/python REPOSITORY/experiments/staged.py PHOTO [MEGAPIXELS ...]``. It imports nothing of the repository.
"""

import sys
import time

STARTED = time.perf_counter()
sys.path.insert(0, ".")

import azure.functions as func  # noqa: E402

import function_app  # noqa: E402

FUNCTIONS = {each.get_function_name(): each.get_user_function() for each in function_app.app.get_functions()}
IMPORTED = time.perf_counter()

import asyncio  # noqa: E402
from io import BytesIO  # noqa: E402
from pathlib import Path  # noqa: E402

from PIL import Image  # noqa: E402

ROUNDS = 3


def seconds_for(body: bytes) -> float:
    """Of one request, through the function that Azure calls."""
    started = time.perf_counter()
    request = func.HttpRequest("POST", "https://app.example/api/deblur", body=body)
    answer = asyncio.run(FUNCTIONS["deblur"](request, None))
    if answer.status_code != 200:
        sys.exit(answer.get_body().decode())
    return time.perf_counter() - started


def memory_mb(name: str) -> float:
    """VmRSS or VmHWM of this process, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def scaled(photo: Image.Image, megapixels: float) -> bytes:
    """The photo as a JPEG of that size."""
    scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
    stream = BytesIO()
    photo.resize((round(photo.width * scale), round(photo.height * scale))).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def main(photo: Path, *megapixels: str) -> None:
    """The first answer is timed before Pillow makes photos of other sizes."""
    first = seconds_for(photo.read_bytes())
    print(
        f"import {IMPORTED - STARTED:.3f} s, first answer {first:.3f} s, together {IMPORTED - STARTED + first:.3f} s; "
        f"then {memory_mb('VmRSS'):.0f} MB"
    )
    image = Image.open(photo)
    for size in map(float, megapixels):
        body = scaled(image, size)
        first, *others = (seconds_for(body) for _ in range(1 + ROUNDS))
        print(f"{size:g} MP: first {first:.2f} s, then {min(others):.2f} s; at most {memory_mb('VmHWM'):.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
