"""The same degradations for a whole batch in torch, on any device: while a GPU trains, it blurs its own samples.

A worker draws the degradation and cuts (and zooms) the source; everything after that happens here. Samples with the
same grid of kernels are blurred together, the image's transform is shared among their kernels. Without noise the result
equals :func:`~deblur.synthesis.degrade.degrade`'s within a code, two after resampling, and half a code on average
after JPEG. Noise has the same law and other draws.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from deblur.errors import DataError
from deblur.synthesis.degrade import JPEG_BLOCK_PX, SURROUND_PX, Degradation, jpeg_window, small_size
from deblur.synthesis.field import Blur, Motion, Thing, edges
from deblur.synthesis.light import ENCODED, OFFSET, brightened, light_table

# fmt: off
LUMINANCE = torch.tensor([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
], dtype=torch.float32)
CHROMINANCE = torch.tensor([
    [17, 18, 24, 47, 99, 99, 99, 99], [18, 21, 26, 66, 99, 99, 99, 99], [24, 26, 56, 99, 99, 99, 99, 99],
    [47, 66, 99, 99, 99, 99, 99, 99], *[[99] * 8] * 4,
], dtype=torch.float32)
"""Quantisation at quality 50 (ITU-T T.81, annex K)."""
HALF = 0.5001
"""libjpeg rounds halves up (of coefficients: away from 0). Means of codes are often halves; floats fall short."""
YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
RGB = torch.tensor([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
# fmt: on


def degrade_batch(sources: Tensor, degradations: Sequence[Degradation]) -> tuple[Tensor, Tensor]:
    """Carry out a batch, all of one ``shape_px`` and ``margin_px``.

    Args:
        sources: ``(B, 3, H, W)`` uint8 on any device, of ``framed_shape``: already ``zoomed``.
        degradations: one a source.

    Returns:
        (blurry, sharp), ``(B, 3, h, w)`` float32 on the 256 codes in ``[0, 1]``, on the same device.

    Raises:
        DataError: numbers or sizes do not fit.
    """
    first = degradations[0]
    wanted = (len(degradations), 3, *first.framed_shape)
    same = all((d.shape_px, d.margin_px) == (first.shape_px, first.margin_px) for d in degradations)
    if tuple(sources.shape) != wanted or sources.dtype != torch.uint8 or not same:
        raise DataError(
            f"The batch is {tuple(sources.shape)} {sources.dtype}; wanted are {wanted} torch.uint8, zoomed, and "
            "degradations of one shape_px and margin_px."
        )
    with torch.no_grad(), torch.autocast(sources.device.type, enabled=False):
        return _degraded(sources, degradations, first)


def _degraded(sources: Tensor, degradations: Sequence[Degradation], first: Degradation) -> tuple[Tensor, Tensor]:
    sharp = _inner(sources, first.margin_px)
    if any(d.gain != 1 for d in degradations):
        sharp = _looked_up(np.stack([_brightness(d) for d in degradations]), sharp)
    tables = np.stack([light_table(d.curve, d.gain, d.highlights) for d in degradations])
    reach = max(d.reach_px for d in degradations)
    light = _looked_up(tables, _inner(sources, first.margin_px - SURROUND_PX - reach))
    codes = _encoded(_blurred(light, degradations), degradations)
    codes = _compressed(_resampled(codes, degradations), degradations)
    return _inner(codes, SURROUND_PX) / 255, sharp.float() / 255


def _inner(images: Tensor, margin_px: int) -> Tensor:
    return images[..., margin_px : images.shape[-2] - margin_px, margin_px : images.shape[-1] - margin_px]


def _brightness(degradation: Degradation) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return brightened(degradation.curve, degradation.gain) if degradation.gain != 1 else np.arange(256, dtype=np.uint8)


def _looked_up(tables: np.ndarray[tuple[int, ...], np.dtype[np.generic]], codes: Tensor) -> Tensor:
    """The entry of each code in its sample's table ``(B, 256)``."""
    on_device = torch.from_numpy(tables).to(codes.device)
    return on_device.gather(1, codes.reshape(len(codes), -1).long()).reshape(codes.shape)


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    """One number a sample, ``(B, 1, 1, 1)``."""
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None, None]


def _blurred(light: Tensor, degradations: Sequence[Degradation]) -> Tensor:
    """``(B, 3, H, W)`` light with a margin -> the result with its surround, ``(B, 3, h, w)``."""
    height, width = (side + 2 * SURROUND_PX for side in degradations[0].shape_px)
    radius = (light.shape[2] - height) // 2
    things = [i for i, d in enumerate(degradations) if d.thing]
    result = torch.empty((*light.shape[:2], height, width), device=light.device)
    groups = defaultdict(list)
    for i, d in enumerate(degradations):
        groups[(tuple(edges(height, d.blur.roll_rad)), tuple(edges(width, d.blur.roll_rad)))].append(i)
    for (rows, columns), members in groups.items():
        kernels = [_kernels(degradations[i].blur, rows, columns, radius) for i in members]
        blend = _hats(rows, light.device)[:, None, :, None] * _hats(columns, light.device)[None, :, None, :]
        result[members] = _convolved(light[members], np.stack(kernels), blend.flatten(0, 1))
    if things:
        moving = [degradations[i].thing for i in things]
        masks = torch.stack([_mask(thing, light) for thing in moving if thing])[:, None]
        kernels = [thing.blur.kernels(np.zeros((1, 2)), radius) for thing in moving if thing]
        before = _convolved(torch.cat([light[things] * masks, masks], 1), np.stack(kernels), None)
        result[things] = before[:, :3] + (1 - before[:, 3:]) * result[things]
    return result


def _kernels(
    blur: Blur, rows: Sequence[int], columns: Sequence[int], radius_px: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The kernels at the corners of all cells, row by row, ``(N, k, k)``."""
    places = np.array([(x - columns[-1] / 2, y - rows[-1] / 2) for y in rows for x in columns])
    kernels = blur.kernels(places, radius_px)
    rolls = isinstance(blur, Motion) and blur.roll_rad > 0
    return kernels if rolls else np.broadcast_to(kernels, (len(places), *kernels.shape[1:]))


def _hats(corners: Sequence[int], device: torch.device) -> Tensor:
    """The linear weight of each corner at each pixel along a side, ``(corners, px)``: 1 there, 0 at its neighbours."""
    at, middle = np.array(corners, np.float64), np.arange(corners[-1]) + 0.5
    hats = [np.interp(middle, at, np.eye(len(at))[i]) for i in range(len(at))]
    return torch.tensor(np.array(hats), dtype=torch.float32, device=device)


def _mask(thing: Thing, light: Tensor) -> Tensor:
    height, width = light.shape[2:]
    y = torch.arange(height, dtype=torch.float32, device=light.device)[:, None] + (0.5 - height / 2)
    x = torch.arange(width, dtype=torch.float32, device=light.device)[None] + (0.5 - width / 2)
    return torch.as_tensor(thing.mask(x, y))


def _convolved(
    planes: Tensor, kernels: np.ndarray[tuple[int, ...], np.dtype[np.float32]], blend: Tensor | None
) -> Tensor:
    """``(B, C, H, W)`` with each of ``(B, N, k, k)``, blended by ``(N, h, w)`` (None: N is 1) -> ``(B, C, h, w)``."""
    side, (height, width) = kernels.shape[-1], planes.shape[-2:]
    size = (_fast_length(height), _fast_length(width))
    spectrum = torch.fft.rfft2(planes, s=size)
    result = torch.zeros((), device=planes.device)
    for n in range(kernels.shape[1]):
        kernel = torch.from_numpy(np.ascontiguousarray(kernels[:, n])).to(planes.device)[:, None]
        whole = torch.fft.irfft2(spectrum * torch.fft.rfft2(kernel, s=size), s=size)
        part = whole[..., side - 1 : height, side - 1 : width]
        result = part if blend is None else result + part * blend[n]
    return result


@lru_cache
def _fast_length(length: int) -> int:
    """The next even length without prime factors above 5."""
    return next(n for n in range(length + length % 2, 2 * length + 3, 2) if 2 * 3**10 * 5**8 * 2**20 % n == 0)


def _encoded(light: Tensor, degradations: Sequence[Degradation]) -> Tensor:
    """Clip, add noise, encode, round to codes of 0 to 255."""
    light = light.clamp(0, 1)
    noisy = [i for i, d in enumerate(degradations) if d.noise]
    coded = [i for i in noisy if degradations[i].curve == ENCODED]
    if coded:
        codes = light[coded]
        light[coded] = torch.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    for i in noisy:
        noise = degradations[i].noise
        assert noise is not None
        generator = torch.Generator(light.device).manual_seed(noise.seed)
        normal = torch.randn(light[i].shape, generator=generator, device=light.device)
        light[i] += (noise.shot * light[i] + noise.read**2).sqrt() * normal
    curves = [d.sensor_curve for d in degradations]
    light = light.clamp(0, 1)
    end, slope = (_column(values, light.device) for values in zip(*[curve.toe for curve in curves], strict=True))
    bent = (1 + OFFSET) * light ** _column([1 / curve.power for curve in curves], light.device) - OFFSET
    codes = torch.where(light * slope <= end, light * slope, bent)
    contrast = _column([curve.contrast for curve in curves], light.device)
    return ((1 - contrast) * codes + contrast * codes * codes * (3 - 2 * codes)).mul(255).round()


def _resampled(codes: Tensor, degradations: Sequence[Degradation]) -> Tensor:
    """Down and up again by Pillow's own filter, along x and then y, in 8 bit between: two products each way."""
    chosen = [i for i, d in enumerate(degradations) if d.scale < 1]
    if not chosen:
        return codes
    height, width = codes.shape[2:]
    sizes = [small_size(width, height, degradations[i].scale) for i in chosen]
    across, down = ([_resampling(whole, size[axis]) for size in sizes] for axis, whole in ((0, width), (1, height)))
    part = codes[chosen]
    for way in (0, 1):
        horizontal, vertical = (
            torch.from_numpy(np.stack([pair[way] for pair in pairs])).to(codes.device)[:, None]
            for pairs in (across, down)
        )
        part = (part @ horizontal.mT).round().clamp(0, 255)
        part = (vertical @ part).round().clamp(0, 255)
    result = codes.clone()
    result[chosen] = part
    return result


@lru_cache(maxsize=1024)
def _resampling(
    whole_px: int, small_px: int
) -> tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    np.ndarray[tuple[int, ...], np.dtype[np.float32]],
]:
    """The matrices ``(whole, whole)`` that scale a line down and up: what Pillow makes of unit vectors, zeros below."""
    shrunk = Image.fromarray(np.eye(whole_px, dtype=np.float32)).resize((whole_px, small_px), Image.Resampling.BICUBIC)
    enlarged = Image.fromarray(np.eye(small_px, dtype=np.float32)).resize(
        (small_px, whole_px), Image.Resampling.BICUBIC
    )
    rest = whole_px - small_px
    return np.pad(np.asarray(shrunk), ((0, rest), (0, 0))), np.pad(np.asarray(enlarged), ((0, 0), (0, rest)))


def _compressed(codes: Tensor, degradations: Sequence[Degradation]) -> Tensor:
    """JPEG and back, those that have a quality, each in its own window of whole blocks around the result."""
    chosen = [i for i, d in enumerate(degradations) if d.quality is not None]
    if not chosen:
        return codes
    sides = [-(-(side + JPEG_BLOCK_PX - 1) // JPEG_BLOCK_PX) * JPEG_BLOCK_PX for side in degradations[0].shape_px]
    result = codes.clone()
    windows = [jpeg_window(degradations[i]) for i in chosen]
    parts = [codes[i][:, rows, columns] for i, (rows, columns) in zip(chosen, windows, strict=True)]
    whole = [functional.pad(p, (0, sides[1] - p.shape[2], 0, sides[0] - p.shape[1]), mode="replicate") for p in parts]
    qualities = [degradations[i].quality or 100 for i in chosen]
    for i, (rows, columns), image in zip(chosen, windows, jpeg(torch.stack(whole), qualities), strict=True):
        result[i][:, rows, columns] = image[:, : rows.stop - rows.start, : columns.stop - columns.start]
    return result


def jpeg(codes: Tensor, qualities: Sequence[int]) -> Tensor:
    """What JPEG with 4:2:0 chroma leaves of ``(B, 3, H, W)`` codes of 0 to 255, sides multiples of 16; as libjpeg."""
    device = codes.device
    ycbcr = torch.einsum("ij,bjhw->bihw", YCBCR.to(device), codes)
    ycbcr[:, 1:] += 128
    ycbcr = ycbcr.round()
    # Four chroma samples are averaged and rounded down with a bias of 1 and 2 in turn.
    bias = torch.tensor([1.0, 2.0], device=device).repeat(codes.shape[3] // 4 + 1)[: codes.shape[3] // 2]
    chroma = torch.floor((functional.avg_pool2d(ycbcr[:, 1:], 2) * 4 + bias) / 4)
    luma = _quantised(ycbcr[:, :1], _tables(LUMINANCE, qualities, device))
    chroma = _enlarged(_quantised(chroma, _tables(CHROMINANCE, qualities, device)))
    return torch.einsum("ij,bjhw->bihw", RGB.to(device), torch.cat([luma, chroma - 128], 1)).round().clamp(0, 255)


def _tables(table: Tensor, qualities: Sequence[int], device: torch.device) -> Tensor:
    """libjpeg's scaling of a table by quality, ``(B, 1, 1, 1, 8, 8)``."""
    percent = torch.tensor([5000 // q if q < 50 else 200 - 2 * q for q in qualities], dtype=torch.float32)
    scaled = torch.floor((table * percent[:, None, None] + 50) / 100).clamp(1, 255)
    return scaled[:, None, None, None].to(device)


def _quantised(planes: Tensor, tables: Tensor) -> Tensor:
    """Planes ``(B, C, h, w)`` after their 8 x 8 DCT has been rounded to multiples of the table."""
    batch, channels, height, width = planes.shape
    basis = _dct(planes.device)
    blocks = (planes - 128).reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    quotient = basis @ blocks @ basis.mT / tables
    coefficients = quotient.sign() * (quotient.abs() + HALF).floor() * tables
    pixels = (basis.mT @ coefficients @ basis + (128 + HALF)).floor().clamp(0, 255)
    return pixels.transpose(3, 4).reshape(planes.shape)


def _dct(device: torch.device) -> Tensor:
    """The orthonormal DCT-II of 8 samples, ``(8, 8)``."""
    n = torch.arange(8, dtype=torch.float64)
    basis = torch.cos(torch.pi * (2 * n[None] + 1) * n[:, None] / 16) / 2
    basis[0] /= 2**0.5
    return basis.float().to(device)


def _enlarged(chroma: Tensor) -> Tensor:
    """Twice as large along both sides: 3/4 of the nearer sample and 1/4 of the farther, libjpeg's "fancy" rule."""
    near = functional.pad(chroma, (1, 1, 1, 1), mode="replicate")
    rows = torch.stack([3 * near[:, :, 1:-1] + near[:, :, :-2], 3 * near[:, :, 1:-1] + near[:, :, 2:]], 3)
    tall = rows.flatten(2, 3)
    middle = tall[..., 1:-1]
    left, right = 3 * middle + tall[..., :-2] + 8, 3 * middle + tall[..., 2:] + 7
    return torch.floor(torch.stack([left, right], 4).flatten(3, 4) / 16)
