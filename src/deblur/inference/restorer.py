"""The restorer: an engine and a tiling make a function from pixels to restored pixels.

A pipeline with bounded memory: while the network computes a tile, the one before is blended and the next is cut out;
rows that no later tile touches leave the accumulator, which holds one row of tiles.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import numpy as np

from deblur.errors import ModelError, RequestError
from deblur.images import Pixels, Rgb, planes_of, put_planes
from deblur.inference.engine import Compiling, Engine, Planes, Tiles, begin
from deblur.inference.guard import Finish, Guard
from deblur.inference.tiling import Plan, Tiling, plan_tiles

CHECK_EVERY_S = 0.05
STRIP_PX = 64
"""Rows that leave the accumulator at once: what their way to 8 bit takes stays small, however wide the photo."""
OnTile = Callable[[int, int], None]
FAR = 1e6
"""What is not a number, or beyond this, becomes this where a guard will see it: it spoils its own place only."""


def ignore(done: int, total: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Restorer:
    """Restore whole images of any size by tiled inference.

    Validation, verification, the command line and the server all go through this one class, so that a figure measured
    in training is of the tiles that a user gets (without the guard).
    """

    engine: Engine
    tiling: Tiling

    def plan(self, pixels: Pixels | Rgb) -> Plan:
        """The tiles that ``pixels`` will be cut into."""
        return plan_tiles(pixels.shape[0], pixels.shape[1], self.tiling)

    def prepare(self, pixels: Pixels | Rgb) -> None:
        """Compile for the tiles of ``pixels``, where the engine compiles, beside what it restores now."""
        if isinstance(self.engine, Compiling):
            plan = self.plan(pixels)
            self.engine.prepare((1, 3, plan.rows.tile_px, plan.columns.tile_px))

    def __call__(
        self,
        pixels: Pixels,
        strength: float = 1.0,
        on_tile: OnTile = ignore,
        check: Callable[[], None] = lambda: None,
    ) -> Pixels:
        """``(H, W, 3)`` float32 in ``[0, 1]`` -> the same, restored and clamped.

        Args:
            pixels: the blurry image.
            strength: 0 to 1; the result is ``blurry + strength * (restored - blurry)``.
            on_tile: told (tiles done, tiles in all) after each tile; an exception it raises stops the work.
            check: called between tiles and every 50 ms inside one; an exception it raises stops the work at once.

        Raises:
            RequestError: ``strength`` out of range.
            ModelError: the model returned something that is not a number.
        """
        result = np.empty_like(pixels)

        def keep(rows: slice, restored: Planes) -> None:
            if strength < 1.0:
                restored = _mixed(pixels[rows].transpose(2, 0, 1), restored, strength)
            np.clip(restored.transpose(1, 2, 0), 0.0, 1.0, out=result[rows])

        self._restore(pixels, strength, keep, on_tile, check)
        return result

    def in_place(
        self,
        rgb: Rgb,
        strength: float = 1.0,
        on_tile: OnTile = ignore,
        check: Callable[[], None] = lambda: None,
        guard: Guard | None = None,
    ) -> Plan:
        """Restore ``(H, W, 3)`` uint8 or uint16 where it lies: rows are overwritten once no tile needs them any more.

        The same as ``to_rgb8(restorer(from_rgb8(rgb)))`` (or 16) with a fraction of the memory: what is needed beside
        ``rgb`` depends on the tile and the image's width. After an exception ``rgb`` is half restored. Arguments and
        errors are those of calling the restorer; returns the tiles it was cut into.

        A ``guard`` of this image keeps what is broken, and some of what needs no restoring, as it was. With one, values
        that are not numbers raise nothing.
        """

        def overwrite(rows: slice, restored: Planes) -> None:
            if strength < 1.0:
                restored = _mixed(planes_of(rgb[rows]), restored, strength)
            put_planes(rgb[rows], restored)

        if guard:
            return self._restore(rgb, strength, guard.before(overwrite), on_tile, check, _bounded)
        return self._restore(rgb, strength, overwrite, on_tile, check)

    def _restore(
        self,
        pixels: Pixels | Rgb,
        strength: float,
        finish: Finish,
        on_tile: OnTile,
        check: Callable[[], None],
        checked: Callable[[Tiles], Tiles] | None = None,
    ) -> Plan:
        """Blend tile after tile; ``finish`` is given the rows that are complete, from top to bottom."""
        if not 0.0 <= strength <= 1.0:
            raise RequestError(f"strength is {strength:g}; allowed are 0 to 1.")
        plan = self.plan(pixels)
        with closing(_restored_tiles(self.engine, _tiles(pixels, plan), check, checked or _finite)) as tiles:
            for top, complete in _blended(plan, _counted(tiles, len(plan), on_tile)):
                for at in range(0, complete.shape[1], STRIP_PX):
                    strip = complete[:, at : at + STRIP_PX]
                    finish(slice(top + at, top + at + strip.shape[1]), strip)
        return plan


def _tiles(pixels: Pixels | Rgb, plan: Plan) -> Iterator[Tiles]:
    """Cut out tile after tile, row by row, as ``(1, 3, h, w)``; what the image lacks is filled by reflection."""
    h, w = plan.rows.tile_px, plan.columns.tile_px
    for top in plan.rows.starts:
        for left in plan.columns.starts:
            part = pixels[top : top + h, left : left + w]
            planes = part.transpose(2, 0, 1) if part.dtype == np.float32 else planes_of(cast(Rgb, part))
            lacking = ((0, 0), (0, h - planes.shape[1]), (0, w - planes.shape[2]))
            yield np.ascontiguousarray((np.pad(planes, lacking, mode="reflect") if np.any(lacking) else planes)[None])


def _counted(tiles: Iterator[Planes], total: int, on_tile: OnTile) -> Iterator[Planes]:
    for done, tile in enumerate(tiles, 1):
        on_tile(done, total)
        yield tile


def _blended(plan: Plan, tiles: Iterator[Planes]) -> Iterator[tuple[int, Planes]]:
    """After each row of tiles, the first of the rows that are complete now, and these; they are overwritten later."""
    rows, columns = plan.rows, plan.columns
    if len(plan) == 1:
        yield 0, next(tiles)[:, : rows.length_px, : columns.length_px]
        return
    column_weights = columns.weights()
    blended = np.zeros((3, rows.tile_px, columns.length_px), np.float32)
    for top, finished, wy in zip(rows.starts, rows.finished_px, rows.weights(), strict=True):
        for left, wx in zip(columns.starts, column_weights, strict=True):
            h, w = len(wy), len(wx)
            blended[:, :h, left : left + w] += next(tiles)[:, :h, :w] * (wy[:, None] * wx)
        yield top, blended[:, : finished - top]
        begun = rows.tile_px - (finished - top)  # rows that the next tiles go on with
        blended[:, :begun] = blended[:, finished - top :]
        blended[:, begun:] = 0


def _restored_tiles(
    engine: Engine, tiles: Iterator[Tiles], check: Callable[[], None], checked: Callable[[Tiles], Tiles]
) -> Generator[Planes]:
    """The network's answers, in order. It has its next tile before the answer is waited for, so it never idles."""
    run = begin(engine)
    with ThreadPoolExecutor(1, "network") as network:
        answers: list[Future[Tiles]] = []
        try:
            for tile in tiles:
                answers.append(network.submit(lambda tile: checked(_shaped(run.call, tile)), tile))
                if len(answers) == 2:
                    yield _result(answers[0], check)
                    answers.pop(0)
            for answer in answers:
                yield _result(answer, check)
        except BaseException:  # also when the consumer stops
            _end(run.cancel, answers)
            raise


def _result(answer: Future[Tiles], check: Callable[[], None]) -> Planes:
    """Wait for an answer; ``check`` may raise in the meantime."""
    check()
    while not wait([answer], CHECK_EVERY_S).done:
        check()
    return answer.result()[0]


def _end(cancel: Callable[[], None], answers: list[Future[Tiles]]) -> None:
    """Cancel until nothing runs: a call that began just now may have missed the first word."""
    while any(not answer.cancel() and not answer.done() for answer in answers):
        cancel()
        wait(answers, CHECK_EVERY_S)


def _shaped(call: Callable[[Tiles], Tiles], batch: Tiles) -> Tiles:
    restored = call(batch)
    if restored.shape != batch.shape:
        raise ModelError(f"The model answered {restored.shape} to a tile of {batch.shape}.")
    return restored


def _finite(restored: Tiles) -> Tiles:
    if not np.isfinite(restored).all():
        raise ModelError("The model's output holds values that are not numbers.")
    return restored


def _bounded(restored: Tiles) -> Tiles:
    if restored.min() >= -FAR and restored.max() <= FAR:  # not so where one is not a number
        return restored
    return np.nan_to_num(restored, nan=FAR).clip(-FAR, FAR)


def _mixed(blurry: Planes, restored: Planes, strength: float) -> Planes:
    return blurry + np.float32(strength) * (restored - blurry)
