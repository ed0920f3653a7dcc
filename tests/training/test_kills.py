"""SIGKILL at random moments, also in the middle of a save: nothing is unreadable, at most one interval is lost, and the
run ends with the bits of one that was never killed.

Six kills by default; the whole proof is ``DEBLUR_KILLS=100 python -m pytest tests/training/test_kills.py -s``.
"""

import multiprocessing
import os
import time
from ctypes import c_int
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest

from deblur.models.checkpoint import has_state, load_checkpoint, read_state
from deblur.registry.record import FINISHED, RunRecord
from tests.training.bits import bits_of, same_bits
from tests.training.killable import train

KILLS = int(os.environ.get("DEBLUR_KILLS", "6"))
LONGEST_LIFE_S = 3.0

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL")


class Arena:
    """Starts trainings from a process that has imported torch already, and counts what happened to them."""

    def __init__(self, pairs: Path, rng: np.random.Generator) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.training.killable"])
        self.pairs, self.rng = pairs, rng
        self.kills = self.in_saves = 0

    def start(self, folder: Path, workers: int) -> tuple[ForkServerProcess, c_int]:
        step = self.context.RawValue(c_int, 0)
        process = self.context.Process(target=train, args=(self.pairs, folder, workers, step))
        process.start()
        return process, step

    def kill(self, folder: Path, workers: int) -> bool:
        """Kill a training at a random moment, every second time while it writes; False if it finished before."""
        process, step = self.start(folder, workers)
        deadline = time.monotonic() + self.rng.uniform(0.0, LONGEST_LIFE_S)
        parts = [folder / f"{name}.part" for name in ("next.pth", "last.json", "run.json")]
        in_save = self.kills % 2 == 0
        while process.is_alive():
            writes = any(part.exists() for part in parts)
            if time.monotonic() > deadline and (writes or not in_save):
                break
            time.sleep(0.0002)
        if not process.is_alive():
            assert process.exitcode == 0
            return False
        process.kill()
        process.join()
        self.kills += 1
        self.in_saves += writes
        self.check(folder, step.value)
        return True

    def check(self, folder: Path, steps_done: int) -> None:
        """What a kill left is whole, and lacks one step at most."""
        if not has_state(folder):
            assert steps_done == 0
            return
        saved = read_state(folder)
        assert saved.damaged == []
        assert load_checkpoint(saved.data)["step"] == saved.step
        assert steps_done - saved.step <= 1, "a save follows every step here"


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path, pair_folder: Path) -> None:
    arena = Arena(pair_folder, np.random.default_rng(KILLS))
    whole = tmp_path / "whole"
    process, _ = arena.start(whole, 0)
    process.join()
    assert process.exitcode == 0
    expected, round_number = bits_of(whole), 0
    while arena.kills < KILLS:
        round_number += 1
        folder, workers = tmp_path / str(round_number), round_number % 2
        while arena.kills < KILLS and arena.kill(folder, workers):
            pass
        if RunRecord(folder).run["status"] != FINISHED:
            process, _ = arena.start(folder, workers)
            process.join()
            assert process.exitcode == 0
        assert same_bits(bits_of(folder), expected)
        assert what_was_recorded(folder) == what_was_recorded(whole)
    print(f"{arena.kills} kills, {arena.in_saves} of them in the middle of a write, in {round_number} runs: same bits")
    assert KILLS < 6 or arena.in_saves > 0


def what_was_recorded(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Every epoch's figures, each once, without those that are times."""
    times = ("seconds", "train_seconds", "train_energy_kj", "images_per_second", "data_wait")
    lines = RunRecord(folder).epochs
    assert len({(line["epoch"], key) for line in lines for key in line["metrics"]}) == sum(
        len(e["metrics"]) for e in lines
    )
    return [(e["epoch"], {k: v for k, v in e["metrics"].items() if k not in times}) for e in lines]
