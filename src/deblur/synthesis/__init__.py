"""Blur without a blurred photo: camera-shake kernels, dead leaves, and blur in linear light."""
