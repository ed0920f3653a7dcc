"""A network that is compiled first trains as it does otherwise."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn

from deblur.training.recipe import run
from tests.training.bits import bits_of, same_bits
from tests.training.tiny import tiny


def test_a_compiled_network_trains_to_the_same_bits(
    pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a backend that runs what torch has traced as it is. It is traced for training, once; what is validated is
    the average, which is not compiled. Weights keep their names in the checkpoints."""
    compiled, traced, compile_with = list[nn.Module](), list[bool](), nn.Module.compile

    def as_it_is(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        traced.append(torch.is_grad_enabled())
        return graph.forward

    def compile_so(network: nn.Module) -> None:
        compiled.append(network)
        compile_with(network, backend=as_it_is)

    monkeypatch.setattr(nn.Module, "compile", compile_so)
    results = [
        run(tiny(tmp_path / str(asked), str(pair_folder), network="FastUNet", tile_size=1024, compile=asked))
        for asked in (False, True)
    ]
    assert (len(compiled), traced) == (1, [True])
    plain, ours = (result for result in results if result)
    assert same_bits(bits_of(plain.record.folder), bits_of(ours.record.folder))
    assert plain.scores
    assert ours.scores
    assert plain.scores.mean("psnr_db") == ours.scores.mean("psnr_db")
    for name in ("train_loss", "psnr", "val_loss"):
        assert plain.record.epochs[0]["metrics"][name] == ours.record.epochs[0]["metrics"][name]
