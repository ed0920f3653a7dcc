"""Camera-shake kernels from random trajectories.

A hand that holds a camera drifts with inertia and is jolted now and then; the sensor integrates the path. The model
(velocity with inertia, a random push and rare jolts) follows Boracchi & Foi, "Modeling the performance of image
restoration from motion blur", IEEE TIP 2012.
"""

import numpy as np
from numpy.typing import NDArray

STEPS = 64
JOLT_PROBABILITY = 0.03


def shake_trajectory(rng: np.random.Generator, extent_px: float) -> NDArray[np.float64]:
    """A path of ``(STEPS, 2)`` positions (x, y) in px, centred on its mean, ``extent_px`` across at its widest."""
    inertia = rng.uniform(0.7, 0.98)
    angle = rng.uniform(0, 2 * np.pi)
    velocity = np.array([np.cos(angle), np.sin(angle)])
    positions = np.empty((STEPS, 2))
    position = np.zeros(2)
    for step in range(STEPS):
        push = rng.normal(size=2) * rng.uniform(0.1, 0.5)
        if rng.random() < JOLT_PROBABILITY:
            push -= 2 * velocity * rng.uniform(0.5, 1.0)
        velocity = inertia * velocity + (1 - inertia) * push * 3
        position = position + velocity
        positions[step] = position
    positions -= positions.mean(axis=0)
    widest = np.linalg.norm(np.ptp(positions, axis=0))
    return positions * (extent_px / max(float(widest), 1e-9))


def kernel_from_trajectory(positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Integrate a path of (x, y) positions into a square, odd-sized kernel that sums to 1.

    Each position is shared among its four nearest pixels in proportion to closeness, which keeps the centre of mass
    where the path has its mean: blurry and sharp stay aligned.
    """
    radius = int(np.ceil(np.abs(positions).max())) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    corner = np.floor(positions).astype(int)
    fraction = positions - corner
    for dx in (0, 1):
        for dy in (0, 1):
            share_x = fraction[:, 0] if dx else 1 - fraction[:, 0]
            share_y = fraction[:, 1] if dy else 1 - fraction[:, 1]
            np.add.at(kernel, (corner[:, 1] + dy + radius, corner[:, 0] + dx + radius), share_x * share_y)
    return (kernel / kernel.sum()).astype(np.float32)


def shake_kernel(rng: np.random.Generator, extent_px: float) -> NDArray[np.float32]:
    """A random camera-shake kernel, ``extent_px`` across: ``(k, k)``, k odd, sums to 1, centred."""
    return kernel_from_trajectory(shake_trajectory(rng, extent_px))
