"""One photo through a model: where the API, photos and folders on disk, the library and the benchmarks all go."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from deblur.errors import UnsupportedPhoto
from deblur.image_limits import DecodeLimits
from deblur.images import Photo, decode
from deblur.inference.guard import Guard
from deblur.inference.model_folder import Model
from deblur.inference.restorer import OnTile, ignore


@dataclass(frozen=True)
class Outcome:
    """What was done to a photo.

    Args:
        height_px: of the upright photo.
        width_px: of the upright photo.
        tiles: that it was cut into.
        model: that restored it, NAME or NAME/VERSION.
        seconds: by stage: ``decode`` (where bytes came) and ``restore``.
        replaced: share of the photo, 0 to 1, where the guard put the input in the place of a broken result.
        left_alone: share of the change that the guard left out elsewhere, averaged over the photo.
    """

    height_px: int
    width_px: int
    tiles: int
    model: str
    seconds: dict[str, float]
    replaced: float = 0.0
    left_alone: float = 0.0

    @property
    def guard(self) -> str:
        """Both shares, for a header or a line."""
        return f"replaced={self.replaced:.2f}, left-alone={self.left_alone:.2f}"


def restore_photo(
    model: Model,
    photo: bytes | Photo,
    strength: float = 1.0,
    *,
    guarded: bool = True,
    limits: DecodeLimits = DecodeLimits(),
    on_tile: OnTile = ignore,
    check: Callable[[], None] = lambda: None,
) -> tuple[Photo, Outcome]:
    """Restore an image's bytes, or a decoded photo where it lies.

    Args:
        model: opened.
        photo: bytes, or a photo, whose pixels are overwritten.
        strength: 0 to 1; the result is ``blurry + strength * (restored - blurry)``.
        guarded: whether the guard puts the input back where the result is broken or the input needs no restoring.
        limits: what bytes may cost to decode.
        on_tile: told (tiles done, tiles in all) after each tile.
        check: called between tiles and inside them; an exception it raises stops the work at once.

    Raises:
        PhotoError: the bytes cannot be decoded, or the photo has no pixels.
        RequestError: ``strength`` out of range.
        ModelError: not guarded, and the model returned something that is not a number; the photo is half restored.
    """
    seconds: dict[str, float] = {}
    if isinstance(photo, bytes):
        started = time.perf_counter()
        photo = decode(photo, limits)
        seconds["decode"] = time.perf_counter() - started
    height, width = photo.rgb.shape[:2]
    if not height * width:
        raise UnsupportedPhoto(f"The photo has {width} x {height} px. Send one that has pixels.")
    started = time.perf_counter()
    guard = Guard(photo.rgb) if guarded else None
    plan = model.restorer.in_place(photo.rgb, strength, on_tile, check, guard)
    seconds["restore"] = time.perf_counter() - started
    shares = (guard.replaced, guard.left_alone) if guard else (0.0, 0.0)
    return photo, Outcome(height, width, len(plan), model.info.label, seconds, *shares)
