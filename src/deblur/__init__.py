"""Train, track, register and serve image-deblurring models.

Pixels mean the same thing at every door: ``float32``, ``(H, W, 3)`` or ``(B, 3, H, W)``, sRGB, range ``[0, 1]``.

``deblur.restore`` and ``deblur.open_model`` are for programs that restore photos: see ``deblur/library.py``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblur.library import open_model, restore

__version__ = "0.1.0"
__all__ = ["__version__", "open_model", "restore"]


def __getattr__(name: str) -> Any:
    """What the library offers is imported when it is asked for: other parts of the package do not pay for it."""
    if name not in ("open_model", "restore"):
        raise AttributeError(f"module 'deblur' has no attribute {name!r}")
    from deblur import library

    return getattr(library, name)
