"""Train, track, register and serve image-deblurring models.

Pixels mean the same thing at every door: ``float32``, ``(H, W, 3)`` or ``(B, 3, H, W)``, sRGB, range ``[0, 1]``.
"""

__version__ = "0.1.0"
