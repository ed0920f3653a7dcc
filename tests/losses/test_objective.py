"""The loss: equal to independent computations, finite where others give NaN, float32 under autocast."""

import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional

from deblur.data.batches import Batch
from deblur.losses import ms_ssim as losses
from deblur.losses.charbonnier import EPS as CHARBONNIER_EPS
from deblur.losses.charbonnier import charbonnier
from deblur.losses.ms_ssim import ms_ssim_loss, ssim_loss
from deblur.losses.objective import Objective
from deblur.metrics import scales_that_fit


def restoration_loss(prediction: Tensor, sharp: Tensor) -> Tensor:
    """The default objective's total."""
    total, _ = Objective({"ms-ssim": 0.84, "charbonnier": 0.16})(prediction, Batch(sharp, sharp))
    return total


def batch(seed: int, side: int = 176, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sharp = torch.nn.functional.avg_pool2d(torch.rand(2, 3, side + 4, side + 4, generator=generator), 5, stride=1)
    return (sharp + noise * torch.randn(sharp.shape, generator=generator)).clamp(0, 1), sharp


def test_it_equals_the_reference_implementation() -> None:
    for seed in range(3):
        a, b = batch(seed, side=256)
        expected = pytorch_msssim.ms_ssim(a, b, data_range=1.0)
        assert 1 - float(ms_ssim_loss(a, b)) == pytest.approx(float(expected), abs=2e-6)


def test_one_scale_equals_scikit_image() -> None:
    a, b = batch(0, side=40)
    image, sharp = (x[0].permute(1, 2, 0).double().numpy() for x in (a, b))
    _, full = structural_similarity(
        image, sharp, data_range=1.0, channel_axis=2, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    assert 1 - float(ssim_loss(a[:1], b[:1])) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-5)


def test_the_loss_is_the_weighted_sum_and_charbonnier_sees_the_raw_prediction() -> None:
    a, b = batch(1, side=192)
    raw = a * 1.6 - 0.2  # leaves [0, 1]
    expected = 0.84 * (1 - float(pytorch_msssim.ms_ssim(raw.clamp(0, 1), b, data_range=1.0)))
    difference = (raw - b).double().numpy()
    expected += 0.16 * np.sqrt(difference**2 + CHARBONNIER_EPS**2).mean()
    assert float(restoration_loss(raw, b)) == pytest.approx(expected, abs=1e-5)


def test_equal_images_cost_only_charbonniers_epsilon() -> None:
    _, sharp = batch(0)
    assert float(ms_ssim_loss(sharp, sharp)) == pytest.approx(0, abs=1e-6)
    assert float(restoration_loss(sharp, sharp)) == pytest.approx(0.16 * CHARBONNIER_EPS, abs=1e-6)
    assert float(charbonnier(sharp, sharp)) == pytest.approx(CHARBONNIER_EPS)


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (20, 1), (21, 2), (41, 3), (80, 3), (81, 4), (160, 4), (161, 5)])
def test_small_crops_use_the_scales_that_fit(side: int, scales: int) -> None:
    assert scales_that_fit(side) == scales
    a, b = batch(0, side=side)
    assert 0 < float(ms_ssim_loss(a, b)) < 1


def test_ten_pixels_are_too_few() -> None:
    with pytest.raises(ValueError, match="at least 11 px"):
        scales_that_fit(10)


hard_cases = {
    "black against white": (torch.zeros(1, 3, 176, 176), torch.ones(1, 3, 176, 176)),
    "constant": (torch.full((1, 3, 176, 176), 0.5), torch.full((1, 3, 176, 176), 0.5)),
    "constant against texture": (torch.full((1, 3, 176, 176), 0.3), batch(3)[1][:1]),
    "inverted": (1 - batch(4)[1][:1], batch(4)[1][:1]),
    "far out of range": (batch(5)[0][:1] * 100 - 50, batch(5)[1][:1]),
}


@pytest.mark.parametrize("case", hard_cases)
def test_gradients_are_finite_for_hard_images(case: str) -> None:
    prediction, sharp = hard_cases[case]
    prediction = prediction.clone().requires_grad_()
    loss = restoration_loss(prediction, sharp)
    loss.backward()
    assert torch.isfinite(loss)
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad.norm() < 1e3


def test_products_and_convolutions_filter_alike() -> None:
    """Large images go another way than crops."""
    planes = torch.rand(1, 15, losses.LONGEST_PRODUCT_PX, 40)
    more = functional.pad(planes, (0, 0, 0, 1))
    assert torch.allclose(losses._filtered(more)[:, :, :-1], losses._filtered(planes), atol=1e-6)


@pytest.mark.parametrize("side", [176, 600])
def test_scoring_first_leaves_training_possible(side: int) -> None:
    """Nothing made in inference mode may be kept for later."""
    losses._windows.cache_clear()
    a, b = batch(0, side)
    with torch.inference_mode():
        restoration_loss(a, b)
    prediction = a.clone().requires_grad_()
    restoration_loss(prediction, b).backward()


def test_pixels_out_of_range_keep_a_gradient() -> None:
    _, sharp = batch(0)
    prediction = (sharp + 2).requires_grad_()
    restoration_loss(prediction, sharp).backward()
    assert prediction.grad is not None
    assert (prediction.grad > 0).all(), "Charbonnier pulls every pixel back"


def test_it_is_float32_inside_autocast() -> None:
    a, b = batch(2)
    outside = restoration_loss(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        inside = restoration_loss(a.bfloat16().float(), b)
        half = restoration_loss(a.bfloat16(), b)
    assert inside.dtype == half.dtype == torch.float32
    assert float(half) == float(inside)
    assert float(inside) == pytest.approx(float(outside), abs=2e-3)
