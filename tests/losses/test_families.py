"""Every term of the objective: 0 for equal pictures, a gradient for others, and what it is by definition."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deblur.data.batches import Batch
from deblur.errors import SettingError
from deblur.losses import perceptual
from deblur.losses.charbonnier import EPS
from deblur.losses.distillation import Features, kl
from deblur.losses.edges import edge, laplacian
from deblur.losses.objective import TERMS, Objective, parse_terms
from deblur.losses.spectrum import ROUNDING, fft, log_fft


def pictures(seed: int, shape: tuple[int, ...] = (2, 3, 32, 48)) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


A, B, TAUGHT = pictures(0), pictures(1), pictures(2)


def value(name: str, prediction: Tensor, sharp: Tensor) -> Tensor:
    return Objective({name: 1.0})(prediction, Batch(sharp, sharp))[0]


@pytest.mark.parametrize("name", TERMS)
def test_equal_pictures_cost_nothing_and_others_have_a_gradient(name: str) -> None:
    assert float(value(name, A, A)) == pytest.approx(EPS if name in ("charbonnier", "edge") else 0.0, abs=1e-6)
    prediction = (A * 1.2 - 0.1).requires_grad_()
    value(name, prediction, B).backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad.abs().sum() > 0
    black = torch.zeros_like(A).requires_grad_()
    value(name, black, torch.zeros_like(A)).backward()
    assert black.grad is not None
    assert torch.isfinite(black.grad).all()


def test_spectra_are_those_of_numpy() -> None:
    a, b = (np.fft.rfft2(x.double().numpy(), norm="ortho") for x in (A, B))
    apart = a - b
    wanted = (np.abs(apart.real).mean() + np.abs(apart.imag).mean()) / 2
    assert float(fft(A, B)) == pytest.approx(wanted, rel=1e-5)
    logs = np.log(np.abs(a) + ROUNDING) - np.log(np.abs(b) + ROUNDING)
    assert float(log_fft(A, B)) == pytest.approx(np.abs(logs).mean(), rel=1e-4)
    shifted = torch.roll(A, (3, 5), (2, 3))
    assert float(log_fft(shifted, A)) < 1e-3 < float(fft(shifted, A))


def test_edges_do_not_see_brightness() -> None:
    assert float(laplacian(torch.full((1, 3, 17, 21), 0.4)).abs().max()) < 1e-6
    assert float(edge(A + 0.2, A)) == pytest.approx(EPS, abs=1e-4)


def test_kl_is_blind_to_brightness_and_sees_colour() -> None:
    torch_kl = functional.kl_div(A.log_softmax(1), B.softmax(1), reduction="none").sum(1).mean()
    assert float(kl(A, B)) == pytest.approx(float(torch_kl), rel=1e-5)
    assert float(kl(A + 0.3, A)) == pytest.approx(0, abs=1e-6)


def test_a_teachers_term_compares_with_its_answer_and_fades() -> None:
    weights = parse_terms(["l1=2", "teacher:l1=0.5", "teacher:l2"])
    assert weights == {"l1": 2.0, "teacher:l1": 0.5, "teacher:l2": 1.0}
    objective, batch = Objective(weights), Batch(B, B, TAUGHT)
    total, terms = objective(A, batch)
    assert list(terms) == ["l1", "teacher_l1", "teacher_l2"]
    assert float(terms["teacher_l1"]) == pytest.approx(float((A - TAUGHT).abs().mean()))
    guided = 0.5 * terms["teacher_l1"] + terms["teacher_l2"]
    assert float(total) == pytest.approx(float(2 * terms["l1"] + guided))
    half, same = objective(A, batch, 0.5)
    assert float(half) == pytest.approx(float(2 * terms["l1"] + guided / 2))
    assert float(same["teacher_l1"]) == float(terms["teacher_l1"]), "told before weights"
    assert list(objective(A, Batch(B, B))[1]) == ["l1"], "whole images are validated without a teacher"


def test_features_of_another_size_are_resized_and_projected() -> None:
    term = Features((4, 6))
    own, wanted = pictures(3, (2, 4, 8, 8)), pictures(4, (2, 6, 16, 16))
    loss = term(own, wanted)
    expected = (term.projection(own) - functional.interpolate(wanted, (8, 8), mode="bilinear")).abs().mean()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()))
    with pytest.raises(SettingError, match="shows its features"):
        Objective({"teacher:features": 1.0})


def vgg() -> dict[str, Tensor]:
    """Made weights, by the names and shapes of torchvision's VGG-19, with layers that are not needed."""
    noise, weights = torch.Generator().manual_seed(0), {"classifier.0.weight": torch.ones(2, 2)}
    sizes = [*perceptual.CONVOLUTIONS.values(), 256]
    for i, number in enumerate(perceptual.CONVOLUTIONS):
        channels_in, channels_out = sizes[i : i + 2]
        scale = (2 / (9 * channels_in)) ** 0.5
        weights[f"features.{number}.weight"] = scale * torch.randn(channels_out, channels_in, 3, 3, generator=noise)
        weights[f"features.{number}.bias"] = torch.randn(channels_out, generator=noise) / 10
    return weights


def test_perceptual_is_vggs_features_and_neither_trained_nor_saved(tmp_path: Path) -> None:
    file, weights = tmp_path / "vgg19-made.pth", vgg()
    torch.save(weights, file)
    layers: list[torch.nn.Module] = []
    for number in perceptual.CONVOLUTIONS:
        weight = weights[f"features.{number}.weight"]
        layers += [torch.nn.MaxPool2d(2)] if number in (5, 10) else []
        layers += [torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1), torch.nn.ReLU()]
        layers[-2].load_state_dict({part: weights[f"features.{number}.{part}"] for part in ("weight", "bias")})
    network = torch.nn.Sequential(*layers)
    mean, deviation = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    objective = Objective({"perceptual": 1.0}, vgg=file)
    with torch.no_grad():
        wanted = (network((A - mean) / deviation) - network((B - mean) / deviation)).square().mean()
        assert float(objective(A, Batch(B, B))[0]) == pytest.approx(float(wanted), rel=1e-4)
    assert not list(objective.parameters())
    assert not objective.state_dict()
    with pytest.raises(SettingError, match="needs vgg"):
        Objective({"perceptual": 1.0})
    del weights["features.14.bias"]
    torch.save(weights, file)
    with pytest.raises(SettingError, match=r"KeyError: .features\.14\.bias"):
        Objective({"teacher:perceptual": 1.0}, vgg=file)
    file.write_bytes(b"nothing")
    with pytest.raises(SettingError, match="holds no weights of VGG-19"):
        Objective({"perceptual": 1.0}, vgg=file)
