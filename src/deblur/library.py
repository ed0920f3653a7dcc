"""``import deblur``: restore photos from Python, without torch, and without mlflow unless a registry is asked.

sharp = deblur.restore("photo.jpg")            # a PIL image
sharp = deblur.restore(array)                  # a NumPy array, as it came

model = deblur.open_model("checkpoints/model") # once, for many
for photo in photos:
    deblur.restore(photo, model)
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblur import image_limits, images
from deblur.errors import UnsupportedPhoto
from deblur.inference.engine import Precision
from deblur.inference.engines import EngineName, open_engine
from deblur.inference.locating import followed, locate_model
from deblur.inference.model_folder import Model
from deblur.inference.model_folder import open_model as open_folder
from deblur.inference.photo import restore_photo

Array = TypeVar("Array", NDArray[np.uint8], NDArray[np.uint16])
Bytes = bytes | bytearray | memoryview


def open_model(
    model: str | Path | None = None,
    *,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Model:
    """Check a model and open it, for many photos.

    Args:
        model: a model folder or ``models:/NAME@champion``; by default ``DEBLUR_MODEL``, else the registry's champion
            if it has beaten the model that comes with the package ('deblur promote'), else that model.
        engine: what runs the network; auto takes OpenVINO on x86-64, else ONNX Runtime.
        precision: what it computes in; auto takes bf16 where engine and processor have it.
        threads: of the network; None takes one a core.

    Raises:
        ModelError: it cannot be found, or does not compute what it did at export.
        SettingError: the engine is not installed, or this machine cannot compute in ``precision``.
    """
    return open_folder(locate(model), lambda onnx: open_engine(onnx, engine, precision, threads))


@overload
def restore(
    photo: Bytes, model: Model | str | Path | None = None, strength: float = 1.0, *, guarded: bool = True
) -> bytes: ...
@overload
def restore(
    photo: Array, model: Model | str | Path | None = None, strength: float = 1.0, *, guarded: bool = True
) -> Array: ...
@overload
def restore(
    photo: str | Path | Image.Image,
    model: Model | str | Path | None = None,
    strength: float = 1.0,
    *,
    guarded: bool = True,
) -> Image.Image: ...
def restore(
    photo: Bytes | str | Path | Image.Image | NDArray[np.uint8] | NDArray[np.uint16],
    model: Model | str | Path | None = None,
    strength: float = 1.0,
    *,
    guarded: bool = True,
) -> bytes | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]:
    """Restore a photo; what came in is left as it is.

    Args:
        photo: an image file's bytes, a path, a PIL image, or a uint8 or uint16 array ``(H, W)``, ``(H, W, 3)`` or
            ``(H, W, 4)`` in sRGB.
        model: opened by :func:`open_model`, or what that takes; it is opened anew for each photo then.
        strength: 0 to 1; the result is ``blurry + strength * (restored - blurry)``.
        guarded: whether what is broken stays as it was, and what needs no restoring is restored less.

    Returns:
        The same kind: bytes in the same format (of HEIC, AVIF and GIF another: JPEG or PNG), an array of the same
        shape, a PIL image; of a path a PIL image. Bytes and arrays keep 16 bits a channel; PIL images have 8.
        Images are upright: an EXIF orientation is applied.

    Raises:
        PhotoError: it is broken, or of a kind that is not restored.
        OSError: there is no such file.
        RequestError: ``strength`` out of range.
        ModelError: the model cannot be found or opened.
    """
    opened = model if isinstance(model, Model) else open_model(model)
    if isinstance(photo, bytes | bytearray | memoryview):
        restored, _ = restore_photo(opened, bytes(photo), strength, guarded=guarded, limits=image_limits.OWN_FILES)
        return images.encode(restored)
    if isinstance(photo, np.ndarray):
        return images.array_of(restore_photo(opened, _photo_of(photo), strength, guarded=guarded)[0])
    decoded = images.photo_of(photo) if isinstance(photo, Image.Image) else images.read(Path(photo))
    restored, _ = restore_photo(opened, decoded, strength, guarded=guarded)
    return images.image_of(restored)


def locate(model: str | Path | None, on_passed_over: Callable[[str, str], None] = lambda name, version: None) -> Path:
    """The model folder; the registry (and mlflow with it) is touched only where it is needed.

    Args:
        model: as :func:`open_model` takes it.
        on_passed_over: told name and version of a champion that has not beaten the bundled model, where that counts.
    """

    def fetch(uri: str) -> Path:
        from deblur.registry.versions import fetch

        return fetch(uri)

    def champion() -> str | None:
        from deblur.registry.versions import local_champion

        return local_champion(on_passed_over)

    return locate_model(None if model is None else str(model), fetch, champion)


def locate_followed(model: str | None) -> Path | None:
    """Where the model of the alias that was asked for is now; None where none was.

    Raises:
        ModelError: the registry fails.
    """
    uri = followed(model)
    if uri is None:
        return None
    from deblur.registry.versions import fetch_now

    return fetch_now(uri)


def _photo_of(array: NDArray[np.uint8] | NDArray[np.uint16]) -> images.Photo:
    """A copy."""
    depth, shape = array.dtype in (np.uint8, np.uint16), array.shape
    if not depth or array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (3, 4)):
        raise UnsupportedPhoto(
            f"The array is {array.dtype} of shape {shape}; allowed are uint8 and uint16 arrays of shape (H, W), "
            "(H, W, 3) or (H, W, 4)."
        )
    grey = array.ndim == 2
    rgb = cast(images.Rgb, np.repeat(array[..., None], 3, axis=2) if grey else array[..., :3].copy())
    return images.Photo(rgb, grey=grey, alpha=array[..., 3] if array.shape[2:] == (4,) else None)
