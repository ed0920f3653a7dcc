"""Dead leaves: the radius law, and an image that is a function of its seed."""

import numpy as np

from deblur.synthesis.leaves import dead_leaves, power_law_radii


def test_radii_follow_the_power_law() -> None:
    """The share of radii above r is (r^-2 - R^-2) / (r0^-2 - R^-2) for density r^-3 between r0 and R."""
    smallest, largest = 2.0, 50.0
    radii = power_law_radii(np.random.default_rng(0), 200_000, smallest, largest)
    assert smallest <= radii.min()
    assert radii.max() <= largest
    for r in (3.0, 5.0, 10.0, 25.0):
        expected = (r**-2 - largest**-2) / (smallest**-2 - largest**-2)
        assert abs((radii > r).mean() - expected) < 4 * np.sqrt(expected / 200_000)


def test_an_image_is_a_function_of_its_seed() -> None:
    one, same, other = (dead_leaves(np.random.default_rng(s), 60, 80) for s in (1, 1, 2))
    assert one.shape == (60, 80, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_an_image_has_edges_at_every_scale() -> None:
    """Differences grow with distance, as in photographs, and do not vanish at one pixel."""
    grey = np.mean([dead_leaves(np.random.default_rng(s), 128, 128).mean(axis=2) for s in range(1)], axis=0)
    differences = [np.abs(grey[:, d:] - grey[:, :-d]).mean() for d in (1, 4, 16)]
    assert 1 < differences[0] < differences[1] < differences[2]
