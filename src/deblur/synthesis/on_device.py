"""The same degradations for a whole batch in torch, on any device: while a GPU trains, it blurs its own samples.

A loader's process draws the degradations, cuts (and zooms) the sources and turns decisions into numbers, a
:class:`BlurNumbers`; everything after that happens here. Samples with the same grid of kernels are blurred together,
the image's transform is shared among their kernels. Without noise the result equals
:func:`~deblur.synthesis.degrade.degrade`'s within a code, two after resampling, and half a code on average after JPEG.
Noise has the same law and other draws.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from torch import Tensor
from torch.nn.functional import interpolate

from deblur.errors import DataError
from deblur.synthesis.degrade import SURROUND_PX, Degradation, Noise, resampling, small_size, whole_blocks_px
from deblur.synthesis.field import Blur, edges, masked
from deblur.synthesis.jpeg import jpeg
from deblur.synthesis.light import OFFSET, brightened, light_table

NUDGE = 1 + 1e-6
"""Keeps a whole number of pixels from being rounded down."""
Corners = tuple[tuple[int, ...], tuple[int, ...]]
"""Where cells begin and end, along y and along x."""


class Cells(NamedTuple):
    """The samples whose kernels stand at the same ``corners``; None: one kernel for every place."""

    samples: NDArray[np.int64]
    corners: Corners | None


class Things(NamedTuple):
    """The samples in which something moves by itself, and its shapes ``(3, 7, n)`` (see ``field.masked``)."""

    samples: NDArray[np.int64]
    shapes: NDArray[np.float32]


class BlurNumbers(NamedTuple):
    """A batch of degradations in numbers, so small that they travel between processes with the batch.

    Args:
        shape_px: (height, width) of the results.
        margin_px: around them, in the sources.
        reach_px: how far the farthest kernel reaches.
        kernels: ``(K, k, k)``, k = 2 reach + 1: those of ``cells`` one after the other, sample by sample, then one for
            each of ``things``.
        cells: all samples.
        things: some of them.
        light: ``(B, 256)``, of each code.
        brightness: ``(B, 256)``, the code that each code becomes in the sharp picture.
        curves: ``(4, B)``: end and slope of the toe, 1 / power, contrast.
        noise: by sample, and whether codes become light for it.
        scales: by sample, those that are resampled, and whether by the bilinear filter.
        qualities: by sample, those that are compressed, with the corner of the result in its first block.
    """

    shape_px: tuple[int, int]
    margin_px: int
    reach_px: int
    kernels: Tensor
    cells: tuple[Cells, ...]
    things: Things | None
    light: NDArray[np.float32]
    brightness: NDArray[np.uint8]
    curves: NDArray[np.float32]
    noise: dict[int, tuple[Noise, bool]]
    scales: dict[int, tuple[float, bool]]
    qualities: dict[int, tuple[int, tuple[int, int]]]


def numbers_of(degradations: Sequence[Degradation]) -> BlurNumbers:
    """The numbers of a batch.

    Raises:
        DataError: not all have one ``shape_px`` and ``margin_px``.
    """
    first = degradations[0]
    if any((d.shape_px, d.margin_px) != (first.shape_px, first.margin_px) for d in degradations):
        raise DataError("A batch's degradations must be of one shape_px and margin_px.")
    reach = max(d.reach_px for d in degradations)
    size = first.shape_px[0] + 2 * SURROUND_PX, first.shape_px[1] + 2 * SURROUND_PX
    groups = defaultdict[Corners | None, list[int]](list)
    for i, d in enumerate(degradations):
        roll = d.blur.roll_rad
        groups[(tuple(edges(size[0], roll)), tuple(edges(size[1], roll))) if roll else None].append(i)
    moving = [(i, d.thing) for i, d in enumerate(degradations) if d.thing]
    kernels = [_kernels(degradations[i].blur, corners, reach) for corners, ids in groups.items() for i in ids]
    kernels += [_kernels(thing.blur, None, reach) for _, thing in moving]
    shapes = [thing.shapes.astype(np.float32) for _, thing in moving]
    toes = np.array([d.sensor_curve.toe for d in degradations]).T
    bends = [[1 / d.sensor_curve.power for d in degradations], [d.sensor_curve.contrast for d in degradations]]
    codes = np.arange(256, dtype=np.uint8)
    return BlurNumbers(
        shape_px=first.shape_px,
        margin_px=first.margin_px,
        reach_px=reach,
        kernels=torch.from_numpy(np.concatenate(kernels)),
        cells=tuple(Cells(np.array(ids), corners) for corners, ids in groups.items()),
        things=Things(np.array([i for i, _ in moving]), np.stack(shapes, axis=-1)) if moving else None,
        light=np.stack([light_table(d.curve, d.gain, d.highlights) for d in degradations]),
        brightness=np.stack(
            [brightened(d.curve, d.gain, d.highlights) if d.changes_light else codes for d in degradations]
        ),
        curves=np.concatenate([toes, np.array(bends)]).astype(np.float32),
        noise={i: (d.noise, d.decodes) for i, d in enumerate(degradations) if d.noise},
        scales={i: (d.scale, d.bilinear) for i, d in enumerate(degradations) if d.scale < 1},
        qualities={i: (d.quality, d.corner) for i, d in enumerate(degradations) if d.quality is not None},
    )


def _kernels(blur: Blur, corners: Corners | None, radius_px: int) -> NDArray[np.float32]:
    """The kernels at all corners, row by row, ``(N, k, k)``; one where they are the same everywhere."""
    rows, columns = corners or ((0,), (0,))
    places = np.array([(x - columns[-1] / 2, y - rows[-1] / 2) for y in rows for x in columns])
    return blur.kernels(places, radius_px)


def degrade_batch(sources: Tensor, numbers: BlurNumbers) -> tuple[Tensor, Tensor]:
    """Carry the degradations of a batch out.

    Args:
        sources: ``(B, 3, H, W)`` uint8 on any device, of ``Degradation.framed_shape``: already ``zoomed``.
        numbers: of as many degradations.

    Returns:
        (blurry, sharp), ``(B, 3, h, w)`` float32 on the 256 codes in ``[0, 1]``, on the same device.

    Raises:
        DataError: numbers or sizes do not fit.
    """
    framed = [side + 2 * numbers.margin_px for side in numbers.shape_px]
    wanted = (len(numbers.light), 3, *framed)
    if tuple(sources.shape) != wanted or sources.dtype != torch.uint8:
        raise DataError(
            f"The batch is {tuple(sources.shape)} {sources.dtype}; wanted are {wanted} torch.uint8, zoomed."
        )
    with torch.no_grad(), torch.autocast(sources.device.type, enabled=False):
        sharp = _looked_up(numbers.brightness, _inner(sources, numbers.margin_px))
        light = _looked_up(numbers.light, _inner(sources, numbers.margin_px - SURROUND_PX - numbers.reach_px))
        codes = _resampled(_encoded(_blurred(light, numbers), numbers), numbers)
        return _compressed(codes, numbers) / 255, sharp.float() / 255


def zoomed_there(pixels: Tensor, zoom: float, side_px: int) -> Tensor:
    """``degrade.zoomed`` where the pixels are: ``(H, W, 3)`` uint8 -> ``(side_px, side_px, 3)``, equal to two codes."""
    if zoom == 1:
        return pixels
    scale = zoom * NUDGE
    return scaled(pixels, {"scale_factor": (1.0, scale)}, {"scale_factor": (scale, 1.0)})[:side_px, :side_px]


def scaled(pixels: Tensor, *passes: dict[str, Any]) -> Tensor:
    """``(H, W, 3)`` uint8 by Pillow's bicubic filter, along x and then along y, in 8 bit between as there.

    Args:
        pixels: on any device.
        passes: of torch's ``interpolate``, one for each direction.
    """
    planes = pixels.permute(2, 0, 1)[None]
    for how in passes:
        planes = interpolate(planes.float(), mode="bicubic", antialias=True, **how).round().clamp(0, 255).byte()
    return planes[0].permute(1, 2, 0)


def _inner(images: Tensor, margin_px: int) -> Tensor:
    return images[..., margin_px : images.shape[-2] - margin_px, margin_px : images.shape[-1] - margin_px]


def _on(device: torch.device, values: Any) -> Tensor:
    """An array or list on the device."""
    return torch.as_tensor(values).to(device, non_blocking=device.type == "cuda")  # which copies them before it returns


def _looked_up(tables: NDArray[Any], codes: Tensor) -> Tensor:
    """The entry of each code in its sample's table ``(B, 256)``."""
    return _on(codes.device, tables).gather(1, codes.flatten(1).long()).view(codes.shape)


def _blurred(light: Tensor, numbers: BlurNumbers) -> Tensor:
    """``(B, 3, H, W)`` light with a margin -> the result with its surround, ``(B, 3, h, w)``."""
    height, width = (side + 2 * SURROUND_PX for side in numbers.shape_px)
    result = torch.empty((*light.shape[:2], height, width), device=light.device)
    all_kernels, at = _on(light.device, numbers.kernels), 0
    for samples, corners in numbers.cells:
        blend = None
        if corners:
            rows, columns = (_hats(side, light.device) for side in corners)
            blend = (rows[:, None, :, None] * columns[None, :, None, :]).flatten(0, 1)
        count = 1 if blend is None else len(blend)
        kernels = all_kernels[at : at + len(samples) * count].view(len(samples), count, *all_kernels.shape[1:])
        chosen = _on(light.device, samples)
        result[chosen] = _convolved(light[chosen], kernels, blend)
        at += len(samples) * count
    if numbers.things:
        chosen, masks = _on(light.device, numbers.things.samples), _masks(numbers.things, light)
        before = _convolved(torch.cat([light[chosen] * masks, masks], 1), all_kernels[at:, None], None)
        result[chosen] = before[:, :3] + (1 - before[:, 3:]) * result[chosen]
    return result


@lru_cache(maxsize=256)
def _hats(corners: tuple[int, ...], device: torch.device) -> Tensor:
    """The linear weight of each corner at each pixel along a side, ``(corners, px)``: 1 there, 0 at its neighbours."""
    at, middle = np.array(corners, np.float64), np.arange(corners[-1]) + 0.5
    hats = [np.interp(middle, at, np.eye(len(at))[i]) for i in range(len(at))]
    return torch.tensor(np.array(hats), dtype=torch.float32, device=device)


def _masks(things: Things, light: Tensor) -> Tensor:
    """``(n, 1, H, W)``."""
    y, x = (torch.arange(side, dtype=torch.float32, device=light.device) + (0.5 - side / 2) for side in light.shape[2:])
    mask: Tensor = masked(_on(light.device, things.shapes)[..., None, None], x, y[:, None])
    return mask[:, None]


def _convolved(planes: Tensor, kernels: Tensor, blend: Tensor | None) -> Tensor:
    """``(B, C, H, W)`` with each of ``(B, N, k, k)``, blended by ``(N, h, w)`` (None: N is 1) -> ``(B, C, h, w)``."""
    side, (height, width) = kernels.shape[-1], planes.shape[-2:]
    size = (_fast_length(height), _fast_length(width))
    spectrum = torch.fft.rfft2(planes, s=size)
    spectra = torch.fft.rfft2(kernels, s=size)
    result = torch.zeros((), device=planes.device)
    for n in range(kernels.shape[1]):
        whole = torch.fft.irfft2(spectrum * spectra[:, n, None], s=size)
        part = whole[..., side - 1 : height, side - 1 : width]
        result = part if blend is None else result + part * blend[n]
    return result


def _fast_length(length: int) -> int:
    """The next even length without prime factors above 5."""
    return 2 * fft.next_fast_len(-(-length // 2), real=True)


def _encoded(light: Tensor, numbers: BlurNumbers) -> Tensor:
    """Clip, add noise, encode, round to codes of 0 to 255."""
    light = light.clamp(0, 1)
    if numbers.noise:
        noisy = _on(light.device, list(numbers.noise))
        light[noisy] = _with_noise(light[noisy], list(numbers.noise.values())).clamp(0, 1)
    end, slope, exponent, contrast = _on(light.device, numbers.curves)[..., None, None, None]
    bent = (1 + OFFSET) * light**exponent - OFFSET
    codes = torch.where(light * slope <= end, light * slope, bent)
    return ((1 - contrast) * codes + contrast * codes * codes * (3 - 2 * codes)).mul(255).round()


def _with_noise(light: Tensor, noise: Sequence[tuple[Noise, bool]]) -> Tensor:
    """Each sample's noise is a function of its own seed, whatever else is in the batch."""
    levels = _on(light.device, [[each.shot, each.read**2, coded] for each, coded in noise])
    shot, read, coded = levels.float().T[..., None, None, None]
    decoded = torch.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    light = torch.where(coded > 0, decoded, light)
    normal, generator = torch.empty_like(light), torch.Generator(light.device)
    for part, (each, _) in zip(normal, noise, strict=True):
        part.normal_(generator=generator.manual_seed(each.seed))
    return light + (shot * light + read).sqrt() * normal


def _resampled(codes: Tensor, numbers: BlurNumbers) -> Tensor:
    """Down and up again by Pillow's own filter, along x and then y, in 8 bit between: two products each way."""
    if not numbers.scales:
        return codes
    height, width = codes.shape[2:]
    ways = [(*small_size(width, height, scale), bilinear) for scale, bilinear in numbers.scales.values()]
    chosen = _on(codes.device, list(numbers.scales))
    part = codes[chosen]
    for way in (0, 1):
        across = torch.stack([_resampling(width, small, soft, codes.device)[way] for small, _, soft in ways])[:, None]
        down = torch.stack([_resampling(height, small, soft, codes.device)[way] for _, small, soft in ways])[:, None]
        part = (part @ across.mT).round().clamp(0, 255)
        part = (down @ part).round().clamp(0, 255)
    codes[chosen] = part
    return codes


@lru_cache(maxsize=128)
def _resampling(whole_px: int, small_px: int, bilinear: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrices ``(whole, whole)`` that scale a line down and up: what Pillow makes of unit vectors, zeros below."""
    shrunk, enlarged = (
        Image.fromarray(np.eye(side, dtype=np.float32)).resize(size, resampling(bilinear))
        for side, size in ((whole_px, (whole_px, small_px)), (small_px, (small_px, whole_px)))
    )
    rest = whole_px - small_px
    return (
        _on(device, np.pad(np.asarray(shrunk), ((0, rest), (0, 0)))),
        _on(device, np.pad(np.asarray(enlarged), ((0, 0), (0, rest)))),
    )


def _compressed(codes: Tensor, numbers: BlurNumbers) -> Tensor:
    """The results without their surround, JPEG and back where they have a quality, its blocks beginning anywhere."""
    result = _inner(codes, SURROUND_PX)
    if not numbers.qualities:
        return result
    qualities, corners = zip(*numbers.qualities.values(), strict=True)
    chosen = _on(codes.device, list(numbers.qualities))
    blocks = [whole_blocks_px(side) for side in numbers.shape_px]
    # What lies beyond the surround repeats its last line, as libjpeg does.
    windows = [
        (np.arange(side) + SURROUND_PX - np.array(offsets)[:, None]).clip(0, whole + 2 * SURROUND_PX - 1)
        for side, offsets, whole in zip(blocks, zip(*corners, strict=True), numbers.shape_px, strict=True)
    ]
    results = [
        np.arange(side) + np.array(offsets)[:, None]
        for side, offsets in zip(numbers.shape_px, zip(*corners, strict=True), strict=True)
    ]
    result = result.clone()
    result[chosen] = _taken(jpeg(_taken(codes[chosen], windows), qualities), results)
    return result


def _taken(images: Tensor, places: Sequence[NDArray[np.int64]]) -> Tensor:
    """Of each image its own rows and columns, ``(B, C, H, W)`` and ``(B, h)``, ``(B, w)`` -> ``(B, C, h, w)``."""
    rows, columns = (_on(images.device, place) for place in places)
    sample, channel = (torch.arange(n, device=images.device) for n in images.shape[:2])
    return images[
        sample[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]
