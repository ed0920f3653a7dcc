"""``python -m experiments.throughput``: what the service makes of the network's own rate, with several clients at once.

Rounds alternate between the network alone (one tile after the other, nothing else) and ``deblur serve`` with clients
that send a photo of one tile as soon as they have the answer to the last, so that what else the machine does falls on
both alike; what else runs still slows the one with more threads less or more, so the processor time of both is told,
too. Asked for: at 512x512 px with eight clients at least 90 % of the network's rate, and p99 of the latency at
most 1.3 times clients / throughput. Beside it stands what a queue of that length before the network alone would have:
what the machine's own pace makes of it.
"""

import http.client
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import tyro

from deblur.data.photos import installed_photos
from deblur.demo import free_port, wait_until_healthy
from deblur.images import Photo, centre_crop, encode, planes_of
from deblur.inference.engine import Run, Tiles, begin
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import open_model


def main(
    model: Path | None = None,
    side: int = 512,
    clients: int = 8,
    photos: int = 80,
    rounds: int = 5,
    kind: str = "jpeg",
) -> None:
    """Print a line a round, and the medians.

    Args:
        model: Model folder; by default the bundled one.
        side: Of a photo, px; at most 512.
        clients: That send at once; the service has room for so many.
        photos: A round, of the service and of the network alike.
        rounds: Each of both.
        kind: Of photo: jpeg or png.
    """
    folder = model or bundled_model()
    assert folder is not None
    picture = centre_crop(next(iter(installed_photos())).pixels, side)
    photo, tile = encode(Photo(picture, "JPEG"), kind), planes_of(picture)[None]
    run, port = begin(open_model(folder).restorer.engine), free_port()
    command = [sys.executable, "-m", "deblur", "serve", "--model", str(folder), "--port", str(port)]
    command += ["--waiting", str(clients - 1)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    shares, tails, floors, works = [], [], [], []
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process)
        _alone(run, tile, 4)
        _served(port, photo, clients, 2 * clients)
        for _ in range(rounds):
            own, theirs = time.process_time(), _cpu_s(process.pid)
            tiles_s = _alone(run, tile, photos // 2)
            own = time.process_time() - own
            rate, latencies = _served(port, photo, clients, photos)
            work = 2 * own / (_cpu_s(process.pid) - theirs)
            tiles_s += _alone(run, tile, photos // 2)
            alone, p99_s = len(tiles_s) / sum(tiles_s), float(np.quantile(latencies, 0.99))
            queued_s = np.convolve(tiles_s, np.ones(clients), "valid")
            shares.append(rate / alone)
            tails.append(p99_s / (clients / rate))
            floors.append(float(np.quantile(queued_s, 0.99)) / (clients / alone))
            works.append(work)
            print(
                f"network {alone:.2f}/s  service {rate:.2f}/s = {rate / alone:.1%}  "
                f"p50 {1e3 * median(latencies):.0f} ms  p99 {1e3 * p99_s:.0f} ms = {tails[-1]:.2f} x clients / rate "
                f"(a queue before the network alone: {floors[-1]:.2f})  "
                f"processor time: the network's is {work:.1%} of the service's",
                flush=True,
            )
    finally:
        process.terminate()
        process.wait(30)
    print(
        f"median: {median(shares):.1%} of the network's rate, p99 {median(tails):.2f} x clients / throughput (a queue "
        f"before the network alone: {median(floors):.2f}), network {median(works):.1%} of the processor time"
    )


def _cpu_s(pid: int) -> float:
    """Processor time that a process has taken, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _alone(run: Run, tile: Tiles, count: int) -> list[float]:
    """Seconds of each tile."""
    ends = [time.perf_counter()]
    for _ in range(count):
        run.call(tile)
        ends.append(time.perf_counter())
    return np.diff(ends).tolist()


def _served(port: int, photo: bytes, clients: int, count: int) -> tuple[float, list[float]]:
    """Photos a second, and the seconds that each took."""

    def client(_: int) -> list[float]:
        connection, seconds = http.client.HTTPConnection("127.0.0.1", port, timeout=300), []
        for _ in range(count // clients):
            started = time.perf_counter()
            connection.request("POST", "/api/deblur", photo, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            seconds.append(time.perf_counter() - started)
        connection.close()
        return seconds

    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        latencies = [each for seconds in pool.map(client, range(clients)) for each in seconds]
        return len(latencies) / (time.perf_counter() - started), latencies


if __name__ == "__main__":
    tyro.cli(main)
