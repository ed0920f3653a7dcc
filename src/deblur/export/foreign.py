"""The network of others, run as its authors wrote it: in which layout it takes images, of which sides, and which of its
outputs are images."""

from collections.abc import Sequence
from functools import partial
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur.errors import ModelError
from deblur.export.probing import REACH_LIMIT_PX, USUAL_SIDE_PX, find_size_rule
from deblur.export.reading import Layout, input_of
from deblur.inference.engine import Tiles
from deblur.inference.tiling import SizeRule

SMALLEST_PX = 16
"""Of a fixed size: a cell of the golden input."""
LONG_PX = 4 * REACH_LIMIT_PX
"""The longest side that is tried before photos come."""


class Foreign:
    """Such a network in ONNX Runtime: ``layout`` of its input, ``rule`` of its sides, and ``images``: its outputs that
    are images as large as its input, with their layouts.

    Args:
        model: a ``ModelProto``, from :func:`deblur.export.reading.read_foreign`.
        layout: of its input, where it is known.
        output: the one that is the restored image, where it is known.

    Raises:
        ModelError: ONNX Runtime cannot load it; it runs on no size that was tried, on rectangles of one size only, in
            both layouts alike; none of its outputs is an image as large as the input; or it refuses large sides.
    """

    def __init__(self, model: Any, layout: Layout | None = None, output: str | None = None) -> None:
        self._session, self._input = _session(model), input_of(model)
        self._outputs = [each.name for each in self._session.get_outputs()]
        if output not in (None, *self._outputs):
            raise ModelError(f"output is {output}; the network has {', '.join(self._outputs)}.")
        layouts = [each for each in self._input.layouts if layout in (None, each)]
        if not layouts:
            raise ModelError(f"layout is {layout}; the network takes {self._input}, which is not that.")
        fitting = [(each, rule) for each in layouts if (rule := self._rule_in(each))]
        if not fitting:
            raise ModelError(
                f"The network runs on no size that was tried, {' or '.join(layouts)}; it takes {self._input}."
            )
        if len(fitting) > 1:
            raise ModelError("The network takes nchw and nhwc alike. Name layout, as its authors say.")
        ((self.layout, self.rule),) = fitting
        self.images = self._found_images(output)
        if self.rule.max_side_px is None:
            long, short = self.rule.fit(LONG_PX), self.rule.fit(USUAL_SIDE_PX)
            for rows, columns in ((short, long), (long, short)):
                self(_noise(rows, columns))

    def __call__(self, tiles: Tiles) -> dict[str, Tiles]:
        """``(B, 3, h, w)`` in the network's values -> each of ``images``, the same.

        Raises:
            ModelError: it refuses them.
        """
        if not (images := self._images_of(tiles)):
            rows, columns = tiles.shape[2:]
            raise ModelError(
                f"The network refuses tiles of {rows} x {columns} px, but takes smaller ones. Allowed are open sizes "
                "without a largest, or one fixed size: write the file with one."
            )
        return images

    def _images_of(self, tiles: Tiles) -> dict[str, Tiles]:
        """The same; {} where it refuses them."""
        answers = self._run(tiles, self.layout)
        return {
            name: answers[name] if layout == "nchw" else answers[name].transpose(0, 3, 1, 2)
            for name, layout in self.images.items()
            if name in answers
        }

    def takes_batches(self) -> bool:
        """Whether two tiles at once give what they give one by one."""
        if self._input.sizes[0] == 1:
            return False
        tiles = _noise(self.rule.min_side_px, self.rule.min_side_px, 2)
        together, singly = self._images_of(tiles), [self(tile[None]) for tile in tiles]
        return all(
            name in together
            and together[name].shape == tiles.shape
            and np.allclose(together[name], np.concatenate([each[name] for each in singly]), 1e-3, 1e-3)
            for name in self.images
        )

    def _run(self, tiles: Tiles, layout: Layout) -> dict[str, NDArray[Any]]:
        """Every output by name, as it comes; {} where it refuses them."""
        given = tiles if layout == "nchw" else np.ascontiguousarray(tiles.transpose(0, 2, 3, 1))
        try:
            answers = self._session.run(self._outputs, {self._input.name: given})
        except Exception:  # ONNX Runtime's exceptions share no public base
            return {}
        return {name: np.asarray(answer) for name, answer in zip(self._outputs, answers, strict=True)}

    def _rule_in(self, layout: Layout) -> SizeRule | None:
        rows, columns = self._input.sides(layout)
        if rows is None and columns is None:
            return find_size_rule(partial(self._keeps_size, layout)) or find_size_rule(partial(self._runs, layout))
        if rows is None or rows != columns or rows < SMALLEST_PX:
            raise ModelError(
                f"The network takes {self._input}; allowed are open sizes, or one size with equal sides of "
                f"{SMALLEST_PX} px and more."
            )
        return SizeRule(gcd(rows, 16), rows, rows) if self._runs(layout, rows, rows) else None

    def _runs(self, layout: Layout, rows: int, columns: int) -> bool:
        return bool(self._run(_noise(rows, columns), layout))

    def _keeps_size(self, layout: Layout, rows: int, columns: int) -> bool:
        tiles = _noise(rows, columns)
        return any(_layout_of(answer, tiles) for answer in self._run(tiles, layout).values())

    def _found_images(self, wanted: str | None) -> dict[str, Layout]:
        rule = self.rule
        tiles = _noise(rule.min_side_px, rule.max_side_px or rule.min_side_px + rule.multiple_of)
        answers = {name: each for name, each in self._run(tiles, self.layout).items() if wanted in (None, name)}
        images = {name: layout for name, answer in answers.items() if (layout := _layout_of(answer, tiles))}
        if not images:
            told = "; ".join(f"{name} {_shape(answer.shape)} {answer.dtype}" for name, answer in answers.items())
            raise ModelError(
                f"To an image {_shape(tiles.shape)} the network answers {told or 'nothing'}. Allowed are float32 "
                "images of the same size; super-resolution cannot be served."
            )
        return images


def _session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # sizes that it refuses are tried on purpose
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(f"ONNX Runtime cannot load the network: {str(error).splitlines()[0][:300]}") from error


def _layout_of(answer: NDArray[Any], tiles: Tiles) -> Layout | None:
    """The layout in which ``answer`` is an image as large as ``tiles`` ``(B, 3, h, w)``; None: it is none."""
    b, c, h, w = tiles.shape
    layouts: dict[tuple[int, ...], Layout] = {(b, h, w, c): "nhwc", (b, c, h, w): "nchw"}
    return layouts.get(answer.shape) if answer.dtype == np.float32 else None


def _noise(rows: int, columns: int, count: int = 1) -> Tiles:
    return np.random.default_rng(0).random((count, 3, rows, columns), dtype=np.float32)


def _shape(sizes: Sequence[int]) -> str:
    return f"({', '.join(map(str, sizes))})"
