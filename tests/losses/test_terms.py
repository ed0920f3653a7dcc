"""The objective is made of named terms, and a term may own what is trained."""

import pytest
import torch
from torch import Tensor, nn

from deblur.data.batches import Batch
from deblur.errors import SettingError
from deblur.losses.objective import Objective, parse_terms
from deblur.models.features import feature_channels
from deblur.models.unet import DeblurUNet
from deblur.training.optimization import Optimization
from deblur.training.state import TrainingState
from deblur.training.step import Lesson, optimizer_step

SHARP = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
BATCH = Batch((SHARP + 0.1).clamp(0, 1), SHARP)


def test_the_total_is_the_weighted_sum_and_each_term_is_told() -> None:
    total, terms = Objective({"charbonnier": 2.0, "ms-ssim": 0.5})(BATCH.blurry, BATCH)
    assert list(terms) == ["charbonnier", "ms-ssim"]
    assert float(total) == pytest.approx(2 * float(terms["charbonnier"]) + 0.5 * float(terms["ms-ssim"]))
    alone, _ = Objective({"charbonnier": 1.0})(BATCH.blurry, BATCH)
    assert float(alone) == pytest.approx(float(terms["charbonnier"]))


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ((), "no term; known terms are ms-ssim, charbonnier"),
        (("l7=1",), "unknown term 'l7'"),
        (("charbonnier=0",), "must be above 0"),
        (("charbonnier=-1",), "must be above 0"),
        (("charbonnier=nan",), "must be above 0"),
        (("charbonnier=much",), "NAME=WEIGHT"),
        (("charbonnier", "charbonnier=1"), "twice"),
    ],
)
def test_an_objective_that_makes_no_sense_is_refused(texts: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        Objective(parse_terms(texts))


def test_a_name_alone_weighs_one() -> None:
    assert parse_terms(["charbonnier", "ms-ssim=0.3"]) == {"charbonnier": 1.0, "ms-ssim": 0.3}


def state_of(weights: dict[str, float]) -> TrainingState:
    """A teacher answers with ones, and with features of two channels."""
    torch.manual_seed(0)
    network = DeblurUNet(8, residual=True)
    nn.init.normal_(network.head.weight, std=0.02)
    objective = Objective(weights, channels=(feature_channels(network), 2))

    def answer(blurry: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(blurry), torch.ones(len(blurry), 2, 3, 3)

    return TrainingState(network, objective, Optimization(1e-2), 100, torch.device("cpu"), "f32", answer)


def test_a_term_with_parameters_trains_them_and_resumes_to_the_bit() -> None:
    weights = {"charbonnier": 1.0, "teacher:features": 0.5}
    state = state_of(weights)
    before = {name: value.clone() for name, value in state.objective.state_dict().items()}
    result = optimizer_step(state, Lesson(state), [BATCH, BATCH])
    assert list(result.terms) == ["charbonnier", "teacher_features"]
    assert result.loss == pytest.approx(result.terms["charbonnier"] + 0.5 * result.terms["teacher_features"], rel=1e-5)
    assert before
    assert all(not torch.equal(before[name], value) for name, value in state.objective.state_dict().items())

    again = state_of(weights)
    again.load_state_dict(torch.load(*saved(state), weights_only=True))
    for each in (state, again):
        optimizer_step(each, Lesson(each), [BATCH])
    for part in ("model_state_dict", "objective_state_dict", "ema_state_dict"):
        assert all(
            torch.equal(value, again.state_dict()[part][name]) for name, value in state.state_dict()[part].items()
        )


def saved(state: TrainingState) -> "tuple[object]":
    from io import BytesIO

    stream = BytesIO()
    torch.save(state.state_dict(), stream)
    stream.seek(0)
    return (stream,)
