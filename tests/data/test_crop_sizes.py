"""Crops that grow over a run: which step has which side, through loaders, and back after a stop."""

import pytest

from deblur.data.blurred import BlurredCrops, Leaves
from deblur.data.crops import CropSizes, Key, RunOrder
from deblur.data.loading import feed_of
from deblur.errors import SettingError

GROWING = CropSizes.parse(("32@0.5", "48@0.8", "64"))


def order_of(epochs: int = 5) -> RunOrder:
    return RunOrder(4, 2, side_at=lambda step: GROWING.at(step / (epochs * 2)))


def test_each_share_of_the_run_has_its_side() -> None:
    assert CropSizes.parse(256).parts == ((1.0, 256),)
    order, sides = order_of(), []
    for epoch in range(5):
        order.start(epoch)
        sides += [key.side_px for key in order]
    assert sides == 10 * [32] + 6 * [48] + 4 * [64]
    order.start(2, first_step=1)
    assert [(int(key), key.side_px) for key in order] == [(10, 48), (11, 48)], "as without a stop"


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_cut_what_keys_say(workers: int) -> None:
    order = order_of()
    feed = feed_of(BlurredCrops(Leaves(), 64, 0), order, accumulate=1, workers=workers, pin_memory=False)
    shapes = []
    for epoch in (2, 3):
        order.start(epoch)
        shapes += [tuple(batch.sharp.shape) for batch in feed.loader]  # type: ignore[union-attr]
    assert shapes == [(2, 3, 32, 32), (2, 3, 48, 48), (2, 3, 48, 48), (2, 3, 48, 48)]


def test_a_key_without_a_side_gives_the_usual_crop() -> None:
    assert BlurredCrops(Leaves(), 64, 0)[Key(3)].sharp.shape == (3, 64, 64)  # type: ignore[union-attr]


@pytest.mark.parametrize("texts", [(), ("64@0.5",), ("64@0.5", "48"), ("32@0.8", "48@0.5", "64"), ("x",), ("32", "64")])
def test_sizes_that_make_no_sense_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match=r"128@0\.5 192@0\.8 256"):
        CropSizes.parse(texts)
