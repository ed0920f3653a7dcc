"""JPEG and back for a batch in torch, on any device: what libjpeg leaves of an image, without files.

Half a code away from it on average: a coefficient on the brink may be rounded to the other side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

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
