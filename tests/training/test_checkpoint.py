"""Checkpoints: the published names and keys, whole files only, no pickled code."""

import pickle
from pathlib import Path

import pytest
import torch

from deblur.errors import ModelError
from deblur.models.unet import DeblurUNet
from deblur.training.checkpoint import best_name, load_checkpoint, network_from, network_of, save_checkpoint
from tests.conftest import sharpening_network


def test_the_published_name() -> None:
    assert best_name(7, 26.8049) == "best_model_epoch_7_psnr_26.80.pth"


def test_weights_come_back_to_the_bit(tmp_path: Path) -> None:
    network = sharpening_network()
    state = {"model_state_dict": network.state_dict(), "architecture": network.architecture}
    save_checkpoint(tmp_path / "a.pth", state)
    again = network_from(tmp_path / "a.pth")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_a_published_checkpoint_without_architecture_is_the_published_network() -> None:
    assert network_of({"model_state_dict": DeblurUNet().state_dict()}).architecture["width"] == 32


def test_a_model_folder_gives_its_weights_back(model_folder: Path) -> None:
    network, again = sharpening_network(), network_from(model_folder)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/deblur-test-was-here"),))


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    torch.save({"model_state_dict": Hostile()}, tmp_path / "a.pth", pickle_module=pickle)
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "a.pth")
    assert not Path("/tmp/deblur-test-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_what_is_no_checkpoint_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.pth"):
        load_checkpoint(tmp_path / "a.pth")
    torch.save({"weights": 1}, tmp_path / "b.pth")
    with pytest.raises(ModelError, match="model_state_dict"):
        load_checkpoint(tmp_path / "b.pth")


def test_weights_of_another_network_are_refused() -> None:
    state = {"model_state_dict": DeblurUNet(16).state_dict(), "architecture": DeblurUNet(8).architecture}
    with pytest.raises(ModelError, match="another network"):
        network_of(state)
