"""A batch in torch: the numpy path's pictures where nothing differs by chance, its statistics where noise does."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from deblur.data.photos import SharpPhoto
from deblur.errors import DataError
from deblur.images import Rgb8
from deblur.synthesis.degrade import Degradation, Noise, degrade, zoomed
from deblur.synthesis.draw import BlurRanges, draw
from deblur.synthesis.jpeg import jpeg
from deblur.synthesis.light import ENCODED, SRGB, Curve
from deblur.synthesis.on_device import degrade_batch, numbers_of

SIZE = (64, 80)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Where the batch is blurred."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    return str(request.param)


def cut(photo: SharpPhoto, degradation: Degradation) -> Rgb8:
    height, width = degradation.source_shape
    return np.tile(photo.pixels, (3, 3, 1))[150 : 150 + height, 100 : 100 + width]


def batch(sources: list[Rgb8], degradations: list[Degradation], device: str) -> Tensor:
    framed = [zoomed(source, degradation) for source, degradation in zip(sources, degradations, strict=True)]
    return torch.from_numpy(np.stack(framed).transpose(0, 3, 1, 2).copy()).to(device)


def codes(images: Tensor) -> np.ndarray:
    return (images * 255).permute(0, 2, 3, 1).cpu().numpy()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_it_equals_the_numpy_path(photos: dict[str, SharpPhoto], strength: float, device: str) -> None:
    """Sharp to the bit; blurry within a code (two after resampling), half a code on average after JPEG."""
    ranges = BlurRanges(noise_share=0, resample_share=0.3)
    drawn = [draw(np.random.default_rng(seed), SIZE, strength, ranges) for seed in range(40)]
    sources = [cut(photos["astronaut"], d) for d in drawn]
    blurry, sharp = (codes(images) for images in degrade_batch(batch(sources, drawn, device), numbers_of(drawn)))
    expected = [degrade(source, d) for source, d in zip(sources, drawn, strict=True)]
    assert blurry.dtype == sharp.dtype == np.float32
    assert np.abs(blurry - blurry.round()).max() < 1e-4
    assert np.abs(sharp - [pair[1] for pair in expected]).max() < 1e-4
    for image, (reference, _), d in zip(blurry, expected, drawn, strict=True):
        difference = np.abs(image - reference.astype(np.float32))
        if d.quality is not None:
            assert difference.mean() < 0.5
        else:
            assert difference.max() < (2.01 if d.scale < 1 else 1.01)
            assert difference.mean() < (0.1 if d.scale < 1 else 0.02)


@pytest.mark.parametrize("quality", [20, 50, 75, 96])
def test_jpeg_is_pillows(photos: dict[str, SharpPhoto], quality: int) -> None:
    """Half a code on average, 48 dB or more: a coefficient on the brink may be rounded to the other side."""
    rgb = photos["coffee"].pixels[100:228, 100:260]
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality, subsampling=2)
    expected = np.asarray(Image.open(stream)).astype(np.float32)
    image = jpeg(torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None].float(), [quality])
    difference = image[0].permute(1, 2, 0).numpy() - expected
    assert np.abs(difference).mean() < 0.5
    assert 20 * np.log10(255 / np.sqrt(np.mean(difference**2))) > 48
    assert np.abs(expected - rgb).mean() > 2 * np.abs(difference).mean()


def test_each_sample_of_jpeg_has_its_own_quality() -> None:
    image = torch.rand(1, 3, 32, 48) * 255
    both = jpeg(image.expand(2, -1, -1, -1), [20, 95])
    assert torch.equal(both[:1], jpeg(image, [20]))
    assert torch.equal(both[1:], jpeg(image, [95]))


@pytest.mark.parametrize("curve", [ENCODED, SRGB])
def test_noise_has_the_statistics_of_the_numpy_path(curve: Curve, device: str) -> None:
    greys = (40, 128, 220)
    drawn = [Degradation((128, 128), 16, curve=curve, noise=Noise(2e-3, 4e-3, seed)) for seed in range(3)]
    sources = [np.full((160, 160, 3), grey, np.uint8) for grey in greys]
    blurry = codes(degrade_batch(batch(sources, drawn, device), numbers_of(drawn))[0])
    for image, source, d in zip(blurry, sources, drawn, strict=True):
        reference = degrade(source, d)[0].astype(np.float32)
        assert image.mean() == pytest.approx(reference.mean(), abs=0.2)
        assert image.std() == pytest.approx(reference.std(), rel=0.03)


def test_noise_is_a_function_of_the_samples_seed(device: str) -> None:
    """Whatever else is in the batch."""
    drawn = [Degradation((32, 32), 16, noise=Noise(1e-3, 1e-3, seed)) for seed in (1, 2)]
    sources = torch.full((2, 3, 64, 64), 100, dtype=torch.uint8, device=device)
    both, alone = (
        degrade_batch(sources, numbers_of(drawn))[0],
        degrade_batch(sources[1:], numbers_of(drawn[1:]))[0],
    )
    assert torch.equal(both[1], alone[0])
    assert not torch.equal(both[0], both[1])


def test_a_whole_batch_has_the_distribution_of_the_numpy_path(photos: dict[str, SharpPhoto], device: str) -> None:
    """Everything on: mean squared errors agree sample by sample."""
    drawn = [draw(np.random.default_rng(seed), SIZE, 0.5) for seed in range(40)]
    sources = [cut(photos["coffee"], d) for d in drawn]
    blurry, sharp = (codes(images) for images in degrade_batch(batch(sources, drawn, device), numbers_of(drawn)))
    ours = np.mean((blurry - sharp) ** 2, axis=(1, 2, 3))
    pairs = [degrade(source, d) for source, d in zip(sources, drawn, strict=True)]
    theirs = np.array([np.mean((b.astype(np.float32) - s) ** 2) for b, s in pairs])
    assert np.allclose(ours, theirs, rtol=0.06, atol=0.1)


def test_half_precision_around_it_changes_nothing() -> None:
    """Training runs under autocast; light needs its 32 bits."""
    drawn = [draw(np.random.default_rng(seed), (32, 32), 1.0) for seed in range(12)]
    sources = torch.randint(0, 256, (12, 3, *drawn[0].framed_shape), dtype=torch.uint8)
    expected = degrade_batch(sources, numbers_of(drawn))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, degrade_batch(sources, numbers_of(drawn)), expected))


def test_what_does_not_fit_is_refused() -> None:
    one = draw(np.random.default_rng(0), (32, 32), 0.5)
    with pytest.raises(DataError, match=r"wanted are \(1, 3, 140, 140\)"):
        degrade_batch(torch.zeros(1, 3, 100, 100, dtype=torch.uint8), numbers_of([one]))
    with pytest.raises(DataError, match="one shape_px"):
        numbers_of([one, replace(one, shape_px=(64, 64))])
