"""Dead leaves as pictures, drawn in torch: in a loader one at a time, on a GPU a whole batch.

Drawn are not colours but the leaves' numbers, at twice the size: at each half pixel that of the leaf that fell last. A
leaf is convex, so it covers one span of a line. A span is two that overlap, each as long as a power of two, and what
covers ``2 k`` half pixels from a place on covers ``k`` from there and ``k`` from the middle on. So no half pixel is
touched once for every leaf, and no order matters. Images lie one behind the other, whatever their sizes.

Then each pixel is coloured once, by the number it holds; only where its four numbers differ, at edges, are colours
averaged.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deblur.images import Rgb8
from deblur.synthesis.leaves import SUPERSAMPLING, TEXTURE_PX, Leaves, fall, textures


def dead_leaves(rng: np.random.Generator, height_px: int, width_px: int) -> Rgb8:
    """An image of occluding leaves, ``(height, width, 3)`` uint8 sRGB, edges anti-aliased: a function of ``rng``."""
    (image,) = pictures([fall(rng, height_px, width_px)], torch.device("cpu"))
    picture: Rgb8 = image.numpy()
    return picture


def pictures(fallen: Sequence[Leaves], device: torch.device) -> list[Tensor]:
    """Each image ``(height, width, 3)`` uint8 sRGB, on ``device``; whatever is beside it, it has the same bits."""
    if device.type == "cpu" and len(fallen) > 1:  # whose cache holds one
        return [image for each in fallen for image in pictures([each], device)]
    images, ground, start, seen = list[Tensor](), 0, 0, in_sight(fallen, device)
    for leaves in fallen:
        end = start + _half_pixels(leaves)
        images.append(painted(leaves, (seen[start:end] - ground).clamp_(min=0)))
        start, ground = end, ground + len(leaves.ends)
    return images


def _half_pixels(leaves: Leaves) -> int:
    return SUPERSAMPLING**2 * leaves.shape_px[0] * leaves.shape_px[1]


def in_sight(fallen: Sequence[Leaves], device: torch.device) -> Tensor:
    """The leaf in sight at each half pixel, line by line, image by image, int32; numbers go on from image to image.

    Where an image's ground is in sight, any smaller number may stand.
    """
    leaf, first, end = _spans(fallen, device)
    level = torch.frexp((end - first).float()).exponent - 1
    seen = torch.zeros(sum(map(_half_pixels, fallen)), dtype=torch.int32, device=device)
    spare = seen.clone()
    widest = SUPERSAMPLING * max(each.shape_px[1] for each in fallen)
    for k in range(widest.bit_length() - 1, -1, -1):
        half = 1 << k
        torch.maximum(seen[half:], seen[:-half], out=spare[half:])
        spare[:half] = seen[:half]
        own = (level == k).nonzero()[:, 0]
        number = _of(own, leaf)
        for places in (_of(own, first), _of(own, end) - half):
            spare.scatter_reduce_(0, places, number, "amax")
        seen, spare = spare, seen
    return seen


def _spans(fallen: Sequence[Leaves], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(leaf, its first half pixel, the one behind its last) of all that leaves cover of lines."""

    def joined(parts: Iterable[NDArray[np.integer]]) -> Tensor:
        return torch.from_numpy(np.concatenate(list(parts))).to(device)

    corners, sides = joined(each.corners for each in fallen), joined(np.diff(each.ends, prepend=0) for each in fallen)
    image = torch.repeat_interleave(torch.tensor([len(each.ends) for each in fallen], device=device))
    height, width = (SUPERSAMPLING * torch.tensor([each.shape_px for each in fallen], device=device)).T
    origin = (height * width).cumsum(0) - height * width
    leaf_of = torch.repeat_interleave(sides)
    following = torch.arange(1, len(leaf_of) + 1, device=device)
    following -= torch.where(following == _of(leaf_of, sides.cumsum(0)), _of(leaf_of, sides), 0)

    # Where each side of a leaf crosses lines that are in the image.
    (x, y), (other_x, other_y) = corners.T, _of(following, corners).T
    slope = torch.where(y == other_y, 0, (other_x - x) / (other_y - y))
    top = torch.minimum(y, other_y).long().clamp(min=0)
    bottom = torch.minimum(torch.maximum(y, other_y), _of(_of(leaf_of, image), height) - 1)
    lines = (bottom - top + 1).clamp(min=0)
    side = torch.repeat_interleave(lines)
    line = _counted(lines, side) + _of(side, top)
    across = _of(side, x) + (line - _of(side, y)) * _of(side, slope)

    # The outermost crossings of each leaf on each of its lines.
    highest = torch.full_like(sides, int(height.max())).scatter_reduce_(0, leaf_of, top, "amin")
    lowest = torch.full_like(sides, -1).scatter_reduce_(0, leaf_of, bottom, "amax")
    rows = (lowest - highest + 1).clamp(min=0)
    leaf = torch.repeat_interleave(rows)
    span = _of(_of(side, leaf_of), rows.cumsum(0) - rows - highest) + line
    left = torch.full(leaf.shape, torch.inf, device=device).scatter_reduce_(0, span, across, "amin")
    right = torch.full(leaf.shape, -torch.inf, device=device).scatter_reduce_(0, span, across, "amax")
    image = _of(leaf, image)
    width = _of(image, width)
    begin = _of(image, origin) + (_counted(rows, leaf) + _of(leaf, highest)) * width
    first = (left + 0.5).floor().long().clamp(min=0)
    end = torch.minimum((right + 0.5).ceil().long(), width)
    inside = (end > first).nonzero()[:, 0]
    return _of(inside, leaf).int(), _of(inside, begin + first), _of(inside, begin + end)


def _of(which: Tensor, values: Tensor) -> Tensor:
    """``values[which]``, which takes a CPU five times as long."""
    return values.index_select(0, which)


def _counted(counts: Tensor, owners: Tensor) -> Tensor:
    """``[2, 0, 3]``, and the owners -> ``[0, 1, 0, 1, 2]``: the place of each thing among its owner's."""
    return torch.arange(len(owners), device=owners.device) - _of(owners, counts.cumsum(0) - counts)


def painted(leaves: Leaves, seen: Tensor) -> Tensor:
    """Colour one image's half pixels, whose leaves are numbered from 0: each pixel once, at edges four times."""
    (height, width), (top, left), device = leaves.shape_px, leaves.corner, seen.device
    looks = np.r_[leaves.colours.T, leaves.gradients, [leaves.contrasts, leaves.textures * TEXTURE_PX**2]]
    looks_there = torch.from_numpy(looks.astype(np.float32)).to(device)
    noise = torch.from_numpy(textures()).to(device).flatten()
    halves = seen.long().view(height, 2, width, 2)
    first, *others = (halves[:, v, :, u].contiguous() for v in (0, 1) for u in (0, 1))
    y, x = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    texel = (y + top) % TEXTURE_PX * TEXTURE_PX + (x + left) % TEXTURE_PX
    pixels = _colour(looks_there, noise, first, y, x, texel).flatten(1)

    edge = torch.stack([other != first for other in others]).any(0).flatten().nonzero()[:, 0]
    own = pixels.index_select(1, edge)
    for other in others:
        place = edge // width, edge % width, _of(edge, texel.flatten())
        own += _colour(looks_there, noise, _of(edge, other.flatten()), *place)
    pixels[:, edge] = own / SUPERSAMPLING**2
    return pixels.round().byte().view(3, height, width).permute(1, 2, 0).contiguous()


def _colour(looks: Tensor, noise: Tensor, leaf: Tensor, y: Tensor, x: Tensor, texel: Tensor) -> Tensor:
    """What leaves look like at places of their shape, as rows of ``looks`` tell: ``(3, *shape)`` in 0 to 255."""
    *colours, right, down, origin, contrast, texture = (_of(leaf.flatten(), look).view_as(leaf) for look in looks)
    grain = _of((texture.long() + texel).flatten(), noise).view_as(leaf)
    brighter = right * x + down * y + origin + grain * contrast
    return torch.stack([each + brighter for each in colours]).clamp_(0, 255)
