"""The network of others, run as its authors wrote it: in which layout it takes images, of which sides, and which of its
outputs are images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur.errors import ModelError
from deblur.export.probing import find_size_rule
from deblur.export.reading import Layout, input_of
from deblur.inference.engine import Tiles
from deblur.inference.tiling import SizeRule

SMALLEST_PX = 16
"""Of a fixed size: a cell of the golden input."""


class Session:
    """ONNX Runtime with a network of any layout.

    Args:
        model: a ``ModelProto``.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """

    def __init__(self, model: Any) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # sizes that it refuses are tried on purpose
        data, providers = model.SerializeToString(), ["CPUExecutionProvider"]
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise ModelError(f"ONNX Runtime cannot load the network: {str(error).splitlines()[0][:300]}") from error
        self.input = input_of(model)
        self.outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, tiles: Tiles, layout: Layout) -> dict[str, NDArray[Any]]:
        """``(B, 3, h, w)`` in the network's values -> every output by name, as it comes; {} where it refuses them."""
        given = tiles if layout == "nchw" else np.ascontiguousarray(tiles.transpose(0, 2, 3, 1))
        try:
            answers = self._session.run(self.outputs, {self.input.name: given})
        except Exception:  # as above
            return {}
        return {name: np.asarray(answer) for name, answer in zip(self.outputs, answers, strict=True)}


@dataclass(frozen=True)
class Foreign:
    """A network whose layout is known.

    Args:
        session: runs it.
        layout: of its input.
        rule: which sides it takes.
        images: its outputs that are images as large as its input, with their layouts.
    """

    session: Session
    layout: Layout
    rule: SizeRule
    images: dict[str, Layout]

    def __call__(self, tiles: Tiles) -> dict[str, Tiles]:
        """``(B, 3, h, w)`` in the network's values -> each of ``images``, the same; {} where it refuses the size."""
        answers = self.session(tiles, self.layout)
        return {
            name: answers[name] if layout == "nchw" else answers[name].transpose(0, 3, 1, 2)
            for name, layout in self.images.items()
            if name in answers
        }

    def takes_batches(self) -> bool:
        """Whether two tiles at once give what they give one by one."""
        if self.session.input.sizes[0] == 1:
            return False
        tiles = _noise(self.rule.min_side_px, self.rule.min_side_px, 2)
        together, singly = self(tiles), [self(tile[None]) for tile in tiles]
        return all(
            name in together
            and together[name].shape == tiles.shape
            and np.allclose(together[name], np.concatenate([each[name] for each in singly]), 1e-3, 1e-3)
            for name in self.images
        )


def open_foreign(model: Any, layout: Layout | None = None, output: str | None = None) -> Foreign:
    """Find out in which layout a network takes images, of which sides, and which of its outputs are images.

    Args:
        model: from :func:`deblur.export.reading.read_foreign`.
        layout: of its input, where it is known.
        output: the one that is the restored image, where it is known.

    Raises:
        ModelError: it runs on no size that was tried, on rectangles of one size only, in both layouts alike, or none of
            its outputs is an image as large as the input.
    """
    session = Session(model)
    if output is not None and output not in session.outputs:
        raise ModelError(f"output is {output}; the network has {', '.join(session.outputs)}.")
    layouts = [each for each in session.input.layouts if layout in (None, each)]
    if not layouts:
        raise ModelError(f"layout is {layout}; the network takes {session.input}, which is not that.")
    rules = [(each, _rule(session, each)) for each in layouts]
    fitting = [(each, rule) for each, rule in rules if rule is not None]
    if not fitting:
        raise ModelError(
            f"The network runs on no size that was tried, {' or '.join(layouts)}; it takes {session.input}."
        )
    if len(fitting) > 1:
        raise ModelError("The network takes nchw and nhwc alike. Name layout, as its authors say.")
    ((found, rule),) = fitting
    return Foreign(session, found, rule, _images(session, found, rule, output))


def _rule(session: Session, layout: Layout) -> SizeRule | None:
    rows, columns = session.input.sides(layout)
    if rows is None and columns is None:
        return find_size_rule(partial(_keeps_size, session, layout)) or find_size_rule(partial(_runs, session, layout))
    if rows is None or rows != columns or rows < SMALLEST_PX:
        raise ModelError(
            f"The network takes {session.input}; allowed are open sizes, or one size with equal sides of {SMALLEST_PX} "
            "px and more."
        )
    return SizeRule(gcd(rows, 16), rows, rows) if _runs(session, layout, rows, rows) else None


def _runs(session: Session, layout: Layout, rows: int, columns: int) -> bool:
    return bool(session(_noise(rows, columns), layout))


def _keeps_size(session: Session, layout: Layout, rows: int, columns: int) -> bool:
    tiles = _noise(rows, columns)
    return any(_layout_of(answer, tiles) for answer in session(tiles, layout).values())


def _images(session: Session, layout: Layout, rule: SizeRule, wanted: str | None) -> dict[str, Layout]:
    tiles = _noise(rule.min_side_px, rule.max_side_px or rule.min_side_px + rule.multiple_of)
    answers = {name: each for name, each in session(tiles, layout).items() if wanted in (None, name)}
    found = {name: _layout_of(answer, tiles) for name, answer in answers.items()}
    images = {name: each for name, each in found.items() if each is not None}
    if not images:
        told = "; ".join(f"{name} {_shape(answer.shape)} {answer.dtype}" for name, answer in answers.items())
        raise ModelError(
            f"To an image {_shape(tiles.shape)} the network answers {told or 'nothing'}. Allowed are float32 images of "
            "the same size; super-resolution cannot be served."
        )
    return images


def _layout_of(answer: NDArray[Any], tiles: Tiles) -> Layout | None:
    """The layout in which ``answer`` is an image as large as ``tiles`` ``(B, 3, h, w)``; None: it is none."""
    b, c, h, w = tiles.shape
    layouts: dict[tuple[int, ...], Layout] = {(b, h, w, c): "nhwc", (b, c, h, w): "nchw"}
    return layouts.get(answer.shape) if answer.dtype == np.float32 else None


def _noise(rows: int, columns: int, count: int = 1) -> Tiles:
    return np.random.default_rng(0).random((count, 3, rows, columns), dtype=np.float32)


def _shape(sizes: Sequence[int]) -> str:
    return f"({', '.join(map(str, sizes))})"
