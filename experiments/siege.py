"""``python -m experiments.siege OUT.json``: everything that a stranger can do to ``deblur serve``, over sockets.

A service in a process of its own, on loopback; what happens to it is read from Linux (memory, threads) and from its
metrics. CI runs a short form of each part (``tests/serving/test_hostile.py``). Rates and latencies depend on what else
the machine does, so each is beside one of the same minute.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tyro
from PIL import Image, ImageOps

from deblur.data.photos import installed_photos
from deblur.images import Photo, encode
from tests.hostile import Hostile, all_hostile, mutants

Figures = dict[str, Any]
BOUNDARY = "a-boundary-of-ours"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
NOT_RESTORED = re.compile(r"10ct_32bit|12bit\.cropped|16_bit_binary|16bit\.[rs]\.tif|[Ll]ab|cmyk_16l|xcsn0g01")
"""Files that Pillow decodes and that are refused by name: other depths, Lab, a wrong checksum."""


@dataclass(frozen=True)
class Answer:
    """``size_px`` is that of the image; None where none came."""

    status: int
    code: str
    size_px: tuple[int, int] | None
    seconds: float
    retry_after: str | None = None


class Service:
    """``deblur serve`` in a process of its own.

    Args:
        model: folder of the model; by default the bundled one.
        warm: as of ``deblur serve``.
    """

    def __init__(self, model: Path | None = None, *, warm: bool = True) -> None:
        command = [sys.executable, "-m", "deblur", "serve", "--port", "0"]
        command += ["--model", str(model)] if model else []
        command += [] if warm else ["--no-warm"]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
        )
        assert self.process.stdout is not None
        self.port = next(
            int(found[1]) for line in self.process.stdout if (found := re.search(r"127\.0\.0\.1:(\d+)", line))
        )
        self._reader = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._reader.start()
        _until(lambda: _get(self.port, "/api/ready")[0] == 200 or not self.alive, 120)

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def status(self, name: str) -> int:
        """What Linux tells of the process: ``VmRSS`` and ``VmHWM`` in kB, ``Threads``."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    def forget_peak(self) -> None:
        """``VmHWM`` begins anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    @property
    def inside(self) -> int:
        """Photos that were taken and not yet answered."""
        return self._gauge("deblur_photos_inside")

    @property
    def places(self) -> int:
        """Photos that are taken at most."""
        return self._gauge("deblur_places")

    def _gauge(self, name: str) -> int:
        return int(float(re.findall(rf"^{name} (\S+)", _get(self.port, "/api/metrics")[1], re.M)[0]))


def post(port: int, body: bytes, content_type: str = "image/jpeg") -> Answer:
    """Send a photo, on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        started = time.perf_counter()
        connection.request("POST", "/api/deblur", body, {"Content-Type": content_type})
        answer = connection.getresponse()
        data = answer.read()
        seconds = time.perf_counter() - started
    code, size_px = "", None
    if answer.status == 200:
        with Image.open(BytesIO(data)) as image:
            image.load()
            size_px = image.size
    elif answer.headers["content-type"] == "application/problem+json":
        code = json.loads(data)["code"]
    return Answer(answer.status, code, size_px, seconds, answer.headers["retry-after"])


def _get(port: int, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _until(true: Callable[[], bool], seconds: float) -> float:
    """Wait until something is true; how long that was. AssertionError where it does not become so."""
    started = time.perf_counter()
    while not true():
        assert time.perf_counter() - started < seconds, "it did not come to pass"
        time.sleep(0.01)
    return time.perf_counter() - started


def _form(data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def _ms(seconds: list[float], quantile: float) -> float:
    return round(1e3 * float(np.quantile(seconds, quantile)), 1)


def photo(side_px: int, kind: str = "jpeg") -> bytes:
    """A photograph, scaled to a square."""
    picture = Image.fromarray(next(iter(installed_photos())).pixels)
    return encode(Photo(np.asarray(picture.resize((side_px, side_px))), "JPEG"), kind)


def _as_expected(answer: Answer, expected: str, size_px: tuple[int, int] | None) -> bool:
    decoded = answer.status == 200 and answer.size_px == size_px
    refused = 400 <= answer.status < 500 and bool(answer.code)
    return {"decode": decoded, "refuse": refused, "either": decoded or refused}[expected]


def bad_files(service: Service, folder: Path, every: int = 1) -> Figures:
    """Every file of a folder with ``manifest.jsonl``, raw and as a form."""
    entries = list(map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()))[::every]
    wrong, seconds, statuses, by_name = [], [], Counter[int](), set()
    for entry in entries:
        data, name = (folder / entry["file"]).read_bytes(), entry["file"]
        size_px = None
        with suppress(Exception), Image.open(BytesIO(data)) as image:
            size_px = ImageOps.exif_transpose(image).size
        for body, content_type in ((data, "application/octet-stream"), (_form(data), FORM)):
            answer = post(service.port, body, content_type)
            seconds.append(answer.seconds)
            statuses[answer.status] += 1
            expected = entry["expected"]
            if expected == "decode" and NOT_RESTORED.search(name) and answer.status in (415, 422):
                expected = "refuse"
                by_name.add(name)
            if not service.alive or not _as_expected(answer, expected, size_px):
                wrong.append(f"{name}: {expected}, {answer}")
    return {
        "requests": len(seconds),
        "statuses": dict(sorted(statuses.items())),
        "refused by name": len(by_name),
        "median ms": _ms(seconds, 0.5),
        "p99 ms": _ms(seconds, 0.99),
        "wrong": wrong,
    }


def bombs(service: Service, files: Iterable[Hostile]) -> Figures:
    """Each alone: what it took, and how far memory rose."""
    wrong, took, rose = [], dict[str, float](), dict[str, float]()
    post(service.port, photo(64))
    idle = service.status("VmRSS")
    for each in files:
        service.forget_peak()
        answer = post(service.port, each.data)
        took[each.name], rose[each.name] = answer.seconds, (service.status("VmHWM") - idle) / 1e3
        if not service.alive or not _as_expected(answer, "decode" if each.size_px else "refuse", each.size_px):
            wrong.append(f"{each.name}: {each.size_px}, {answer}")
    slowest, largest = max(took, key=took.__getitem__), max(rose, key=rose.__getitem__)
    return {
        "files": len(took),
        "slowest": f"{slowest}: {took[slowest]:.2f} s",
        "slowest s": took[slowest],
        "most memory": f"{largest}: {rose[largest]:.0f} MB above idle",
        "most MB": rose[largest],
        "wrong": wrong,
    }


def fuzz(service: Service, count: int) -> Figures:
    """Mutants: a photo, or a problem that names what is wrong with it."""
    wrong, seconds, statuses = [], [], Counter[int]()
    for i, data in enumerate(mutants(count)):
        answer = post(service.port, data)
        seconds.append(answer.seconds)
        statuses[answer.status] += 1
        if not service.alive or not (answer.size_px or (400 <= answer.status < 500 and answer.code)):
            wrong.append(f"mutant {i}: {answer}")
    return {
        "mutants": count,
        "statuses": dict(sorted(statuses.items())),
        "median ms": _ms(seconds, 0.5),
        "p99 ms": _ms(seconds, 0.99),
        "wrong": wrong,
    }


class Dribble:
    """Clients that keep connections open and send a byte a second each: in headers, in bodies, or nothing at all."""

    STARTS = (
        b"POST /api/deblur HTTP/1.1\r\nHost: x\r\nX-",
        b"POST /api/deblur HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n",
        b"",
    )

    def __init__(self, port: int, count: int) -> None:
        self._port, self._end, self.reopened = port, threading.Event(), -count
        self._sockets: list[socket.socket | None] = [None] * count
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Dribble":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for each in filter(None, self._sockets):
            each.close()

    def _run(self) -> None:
        at, count = 0, len(self._sockets)
        while not self._end.wait(1 / count if self.reopened >= 0 else 0):
            each, start = self._sockets[at], self.STARTS[at % len(self.STARTS)]
            try:
                if each is None:
                    raise OSError("not open")
                each.settimeout(0)
                with suppress(BlockingIOError):
                    if not each.recv(4096):
                        raise OSError("closed")
                each.send(b"a" if start else b"")
            except OSError:
                if each:
                    each.close()
                self._sockets[at] = self._opened(start)
                self.reopened += 1
            at = (at + 1) % count

    def _opened(self, start: bytes) -> socket.socket | None:
        with suppress(OSError):
            opened = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            opened.sendall(start)
            return opened
        return None


def slow(service: Service, connections: int, photos: int, side_px: int = 512, rounds: int = 4) -> Figures:
    """A healthy client's latencies without and beside so many slow connections, by turns: what else runs hits both."""
    data = photo(side_px)

    def healthy() -> list[float]:
        answers = [post(service.port, data) for _ in range(photos)]
        assert all(answer.status == 200 for answer in answers), answers
        return [answer.seconds for answer in answers]

    healthy()
    alone, beside, reopened = list[float](), list[float](), 0
    for _ in range(rounds):
        alone += healthy()
        with Dribble(service.port, connections) as dribble:
            _until(lambda: dribble.reopened >= 0, 60)
            beside += healthy()
            reopened += dribble.reopened
    return {
        "connections": connections,
        "reopened after the service closed them": reopened,
        "p95 ms alone": _ms(alone, 0.95),
        "p95 ms beside": _ms(beside, 0.95),
        "p95 ratio": round(_ms(beside, 0.95) / _ms(alone, 0.95), 2),
        "p50 ratio": round(_ms(beside, 0.5) / _ms(alone, 0.5), 2),
    }


def capacity(service: Service, data: bytes, seconds: float) -> float:
    """Photos a second that are answered where as many clients as it takes send one after the other."""
    clients, end_s = service.places, time.perf_counter() + seconds

    def answered(client: int) -> int:
        count = 0
        while time.perf_counter() < end_s:
            count += post(service.port, data).status == 200
        return count

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(answered, range(clients))) / seconds


def overload(service: Service, seconds: float, side_px: int = 256) -> Figures:
    """Photos at twice the rate that can be answered; memory at the end beside that at a quarter."""
    data = photo(side_px)
    most = capacity(service, data, min(10.0, seconds / 2))
    every_s = 1 / (2 * most)
    answers: list[Answer] = []
    memory: list[int] = []
    lost: list[str] = []

    def send() -> None:
        try:
            answers.append(post(service.port, data))
        except (OSError, http.client.HTTPException) as error:
            lost.append(repr(error))

    started = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        for i in range(int(seconds / every_s)):
            time.sleep(max(0.0, started + i * every_s - time.perf_counter()))
            pool.submit(send)
            memory.append(service.status("VmRSS"))
    _until(lambda: service.inside == 0, 60)
    refused = [answer.seconds for answer in answers if answer.status == 503]
    took_s = time.perf_counter() - started
    return {
        "seconds": round(took_s),
        "answered a second before, sent a second": [round(most, 1), round(len(answers) / took_s, 1)],
        "statuses": dict(sorted(Counter(answer.status for answer in answers).items())),
        "lost": lost,
        "503 without Retry-After": sum(answer.status == 503 and not answer.retry_after for answer in answers),
        "503 median ms": _ms(refused, 0.5) if refused else 0.0,
        "503 p99 ms": _ms(refused, 0.99) if refused else 0.0,
        "memory MB at a quarter, at the end": [round(memory[len(memory) // 4] / 1e3), round(memory[-1] / 1e3)],
        "memory grew MB": round((memory[-1] - memory[len(memory) // 4]) / 1e3),
    }


def cancellations(service: Service, count: int, side_px: int = 1200) -> Figures:
    """Clients that leave while their photo is sent, waits or computes; then the slot is free and nothing has grown."""
    data, rng, freed = photo(side_px), np.random.default_rng(0), []
    head = b"POST /api/deblur HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)

    def leave(after_s: float) -> None:
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
            client.sendall(head + data[: len(data) if after_s > 0.02 else len(data) // 2])
            time.sleep(after_s)

    def clean() -> tuple[int, int]:
        assert post(service.port, data).status == 200
        time.sleep(0.3)
        return service.status("VmRSS"), service.status("Threads")

    for _ in range(max(3, count // 10)):
        leave(rng.uniform(0, 0.6))
    _until(lambda: service.inside == 0, 60)
    memory, threads = clean()
    for _ in range(count):
        leave(rng.uniform(0, 0.6))
        freed.append(_until(lambda: service.inside == 0, 60))
    memory_after, threads_after = clean()
    return {
        "cancelled": count,
        "slot free after ms, median": _ms(freed, 0.5),
        "slot free after ms, p99": _ms(freed, 0.99),
        "memory grew MB": round((memory_after - memory) / 1e3),
        "threads before, after": [threads, threads_after],
    }


def ending(model: Path | None, side_px: int = 2500, *, warm: bool = True) -> Figures:
    """SIGTERM while a long photo computes and others wait: each is answered, whole or by a problem."""
    data = photo(side_px)
    with Service(model, warm=warm) as service, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(post, service.port, data) for _ in range(3)]
        _until(lambda: service.inside == 3, 60)
        started = time.perf_counter()
        service.process.send_signal(signal.SIGTERM)
        told = [answer.result(60) for answer in answers]
        code = service.process.wait(60)
        return {
            "answers": [f"{answer.status} {answer.code}".strip() for answer in told],
            "ended after s": round(time.perf_counter() - started, 1),
            "exit code": code,
        }


def main(
    out: tyro.conf.Positional[Path],
    bad: Path = Path("../shared/data/bad"),
    model: Path | None = None,
    mutated: int = 10_000,
    connections: int = 500,
    minutes: float = 10,
    cancelled: int = 200,
) -> None:
    """The long form of everything; prints each part, and writes all of it as JSON.

    Args:
        out: The JSON file.
        bad: Folder of bad files with its manifest; left out where it is not there.
        model: Model folder; by default the bundled one.
        mutated: Mutants.
        connections: Slow ones.
        minutes: At twice the capacity.
        cancelled: Clients that leave.
    """
    told: dict[str, Figures] = {}

    def tell(name: str, figures: Figures) -> None:
        told[name] = figures
        print(f"{name}: {json.dumps(figures)}", flush=True)
        out.write_text(json.dumps(told, indent=1), encoding="utf-8")

    with Service(model) as service:
        tell("bombs, cuts, disguises, orientations", bombs(service, all_hostile()))
        tell("slow connections", slow(service, connections, 100))
        tell("cancellations", cancellations(service, cancelled))
        if bad.is_dir():
            tell("bad files", bad_files(service, bad))
        tell("mutants", fuzz(service, mutated))
        tell("twice the capacity", overload(service, 60 * minutes))
        tell("at the end", {"alive": service.alive, "memory MB": service.status("VmRSS") // 1000})
    tell("SIGTERM", ending(model))


if __name__ == "__main__":
    tyro.cli(main)
