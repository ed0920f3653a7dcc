"""Curves: they invert, and the tables made of them mean what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur.synthesis.light import CODES, ENCODED, SRGB, Curve, brightened, light_table, to_linear, to_srgb


def test_the_gamma_curve_is_srgb_and_inverts() -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    assert np.abs(to_srgb(to_linear(values)) - values).max() < 1e-5
    assert to_linear(np.float32(0.5)) == pytest.approx(0.21404, abs=1e-5)


@given(st.one_of(st.just(1.0), st.floats(1.3, 3)), st.floats(0, 0.6))
def test_every_curve_inverts_and_rises(power: float, contrast: float) -> None:
    curve = Curve(power, contrast)
    light = curve.decode(CODES)
    assert light[0] == 0
    assert light[-1] == pytest.approx(1)
    assert np.diff(light).min() > 0
    assert np.abs(curve.encode(light) - CODES).max() < 1e-4  # a fortieth of a code


@given(st.one_of(st.just(1.0), st.floats(1.3, 3)), st.floats(0, 0.6))
def test_without_a_change_codes_stay(power: float, contrast: float) -> None:
    assert np.array_equal(brightened(Curve(power, contrast), 1.0, 1.0), np.arange(256))


def test_the_default_curve_is_srgb() -> None:
    light = np.linspace(0, 1, 1001, dtype=np.float32)
    assert np.abs(SRGB.encode(light) - to_srgb(light)).max() * 255 < 0.01


def test_encoded_values_have_no_curve() -> None:
    assert np.array_equal(light_table(ENCODED), CODES)


def test_highlights_rise_and_nothing_else_does() -> None:
    plain, raised = light_table(SRGB), light_table(SRGB, highlights=4.0)
    assert raised[255] == pytest.approx(4)
    assert np.array_equal(plain[:240], raised[:240])
    assert np.diff(raised).min() > 0


def test_a_stop_is_twice_the_light() -> None:
    assert np.allclose(light_table(SRGB, gain=2.0), 2 * light_table(SRGB))
    assert brightened(SRGB, 2.0, 1.0)[137] == pytest.approx(188, abs=1)  # 0.25 and 0.5 of the light
    assert brightened(SRGB, 2.0, 1.0)[200] == 255
    assert brightened(SRGB, 1.0, 4.0)[246:250].min() > 250, "what is lit like a lamp is as white when it is sharp"
