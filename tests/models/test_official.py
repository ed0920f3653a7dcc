"""Official weights load by name; their names and shapes are written here a second time, from the published code."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deblur.cli import main
from deblur.errors import ModelError
from deblur.files import sha256_of
from deblur.inference.model_folder import read_info
from deblur.models import build
from deblur.models.checkpoint import network_from

Shapes = dict[str, tuple[int, ...]]


def layer(name: str, out: int, inside: int, side: int = 1, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (out, inside, side, side)} | ({f"{name}.bias": (out,)} if bias else {})


def norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def nafnet_block(at: str, c: int) -> Shapes:
    shapes = {f"{at}.beta": (1, c, 1, 1), f"{at}.gamma": (1, c, 1, 1)} | norm(f"{at}.norm1", c) | norm(f"{at}.norm2", c)
    shapes |= layer(f"{at}.conv1", 2 * c, c) | layer(f"{at}.conv2", 2 * c, 1, 3) | layer(f"{at}.conv3", c, c)
    return shapes | layer(f"{at}.sca.1", c, c) | layer(f"{at}.conv4", 2 * c, c) | layer(f"{at}.conv5", c, c)


def nafnet(width: int, encoders: list[int], middle: int, decoders: list[int]) -> Shapes:
    shapes = layer("intro", width, 3, 3) | layer("ending", 3, width, 3)
    for level, (down, up) in enumerate(zip(encoders, decoders[::-1], strict=True)):
        c, i = width << level, len(decoders) - 1 - level
        shapes |= layer(f"downs.{level}", 2 * c, c, 2) | layer(f"ups.{i}.0", 4 * c, 2 * c, bias=False)
        for block in range(down):
            shapes |= nafnet_block(f"encoders.{level}.{block}", c)
        for block in range(up):
            shapes |= nafnet_block(f"decoders.{i}.{block}", c)
    for block in range(middle):
        shapes |= nafnet_block(f"middle_blks.{block}", width << len(encoders))
    return shapes


def restormer_block(at: str, c: int, heads: int) -> Shapes:
    wide = int(c * 2.66)
    shapes = norm(f"{at}.norm1.body", c) | norm(f"{at}.norm2.body", c) | {f"{at}.attn.temperature": (heads, 1, 1)}
    for name, out, inside, side in (
        ("attn.qkv", 3 * c, c, 1),
        ("attn.qkv_dwconv", 3 * c, 1, 3),
        ("attn.project_out", c, c, 1),
        ("ffn.project_in", 2 * wide, c, 1),
        ("ffn.dwconv", 2 * wide, 1, 3),
        ("ffn.project_out", c, wide, 1),
    ):
        shapes |= layer(f"{at}.{name}", out, inside, side, bias=False)
    return shapes


def restormer(dim: int, blocks: list[int], refinement: int, heads: list[int]) -> Shapes:
    shapes = layer("patch_embed.proj", dim, 3, 3, bias=False) | layer("output", 3, 2 * dim, 3, bias=False)
    for name, level, wide in (
        ("encoder_level1", 0, dim),
        ("encoder_level2", 1, 2 * dim),
        ("encoder_level3", 2, 4 * dim),
        ("latent", 3, 8 * dim),
        ("decoder_level3", 2, 4 * dim),
        ("decoder_level2", 1, 2 * dim),
        ("decoder_level1", 0, 2 * dim),
        ("refinement", 0, 2 * dim),
    ):
        for block in range(refinement if name == "refinement" else blocks[level]):
            shapes |= restormer_block(f"{name}.{block}", wide, heads[level])
    for i, c in ((1, dim), (2, 2 * dim), (3, 4 * dim)):
        shapes |= layer(f"down{i}_{i + 1}.body.0", c // 2, c, 3, bias=False)
        shapes |= layer(f"up{i + 1}_{i}.body.0", 4 * c, 2 * c, 3, bias=False)
    for i, c in ((2, 2 * dim), (3, 4 * dim)):
        shapes |= layer(f"reduce_chan_level{i}", c, 2 * c, bias=False)
    return shapes


SMALL_NAFNET = nafnet(4, [1, 0, 0, 1], 1, [0, 1, 0, 0])
SMALL_RESTORMER = restormer(4, [1, 2, 1, 2], 3, [1, 2, 2, 4])


def weights(shapes: Shapes) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(0)
    return {name: 0.05 * torch.randn(shape, generator=noise) for name, shape in shapes.items()}


def saved(path: Path, shapes: Shapes) -> Path:
    torch.save({"params": weights(shapes)}, path)
    return path


@pytest.mark.parametrize(
    ("architecture", "shapes"),
    [
        ({"name": "NAFNet"}, nafnet(32, [1, 1, 1, 28], 1, [1, 1, 1, 1])),
        ({"name": "NAFNet", "width": 16}, nafnet(16, [1, 1, 1, 28], 1, [1, 1, 1, 1])),
        ({"name": "Restormer"}, restormer(48, [4, 6, 6, 8], 4, [1, 2, 4, 8])),
    ],
)
def test_names_and_shapes_are_the_official_ones(architecture: dict[str, object], shapes: Shapes) -> None:
    network = build(architecture, weights=False)
    assert {name: tuple(weight.shape) for name, weight in network.state_dict().items()} == shapes


@pytest.mark.parametrize("shapes", [SMALL_NAFNET, SMALL_RESTORMER])
def test_it_is_recognised_and_loaded(tmp_path: Path, shapes: Shapes) -> None:
    network = network_from(saved(tmp_path / "w.pth", shapes))
    loaded = network.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights(shapes).items())
    if "intro.weight" in shapes:
        wanted = {"width": 4, "encoder_blocks": (1, 0, 0, 1), "middle_blocks": 1, "decoder_blocks": (0, 1, 0, 0)}
    else:
        wanted = {"width": 4, "level_blocks": (1, 2, 1, 2), "refinement_blocks": 3, "heads": (1, 2, 2, 4)}
    assert wanted.items() <= network.architecture.items()


def test_the_forward_pass_is_the_published_one() -> None:
    """Attention as it is written in the paper: matrices of (channels of a head) x (pixels)."""
    from deblur.models.restormer import Attention

    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.randn(2, 8, 6, 10)
    torch.nn.init.uniform_(attention.temperature)
    q, k, v = (p.reshape(2, 2, 4, 60) for p in attention.qkv_dwconv(attention.qkv(x)).chunk(3, 1))
    q, k = (torch.nn.functional.normalize(each, dim=-1) for each in (q, k))
    mixed = (q @ k.transpose(-2, -1) * attention.temperature).softmax(-1) @ v
    wanted = attention.project_out(mixed.reshape(2, 8, 6, 10))
    assert torch.allclose(attention(x), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        (layer("conv", 3, 3), "not those of a network that is known"),
        ({"intro.weight": ()}, "no network that can be built"),
        ({"patch_embed.proj.weight": (5, 3, 3, 3)}, r"no network that can be built \(Restormer: width is 5"),
        (SMALL_NAFNET | layer("more", 3, 3), r"look like a NAFNet, but more\.bias is \(3,\) and should be missing"),
        (SMALL_RESTORMER | layer("skip_conv", 8, 4, bias=False), "look like a Restormer, but skip_conv"),
        (
            {name: shape for name, shape in SMALL_RESTORMER.items() if not name.endswith("body.bias")},
            r"decoder_level1\.0\.norm1\.body\.bias is missing",
        ),
        (
            SMALL_RESTORMER | layer("patch_embed.proj", 4, 6, 3, bias=False),
            r"patch_embed\.proj\.weight is \(4, 6, 3, 3\) and should be \(4, 3, 3, 3\)",
        ),
    ],
)
def test_others_are_refused_by_name(tmp_path: Path, shapes: Shapes, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        network_from(saved(tmp_path / "w.pth", shapes))


def test_params_that_are_no_tensors_by_name_are_refused(tmp_path: Path) -> None:
    for params in ({"intro.weight": 3}, {"intro.weight": torch.zeros(4, 3, 3, 3), 0: torch.zeros(1)}):
        torch.save({"params": params}, tmp_path / "w.pth")
        with pytest.raises(ModelError, match="not those of a network"):
            network_from(tmp_path / "w.pth")


def test_they_are_imported_and_a_training_begins_with_them(tmp_path: Path, pair_folder: Path) -> None:
    file = saved(tmp_path / "w.pth", SMALL_NAFNET)
    command = ["import", str(file), str(tmp_path / "m"), "--name", "official", "--licence", "MIT"]
    assert main([*command, "--order", "rgb"]) == 1  # it is known
    assert main(command) == 0
    info = read_info(tmp_path / "m")
    assert info.architecture == json_of(network_from(file).architecture)
    assert (info.licence, info.origin) == ("MIT", {"file": "w.pth", "sha256": sha256_of(file)})
    assert main(["export", str(tmp_path / "m"), str(tmp_path / "half"), "--half"]) == 0
    for folder in ("m", "half"):
        card = (tmp_path / folder / "CARD.md").read_text()
        assert "Trained by others and imported from w.pth" in card
        assert "Licence: MIT." in card
    train = "train --network NAFNet --tracking off --doctor off --val_images 1 --num_epochs 1 --batch_size 2"
    train += " --learning_rate 1e-30 --weight_decay 0 --patch_size 32 --epoch_images 2 --num_workers 0 --tile_size 128"
    data = ["--train_data", str(pair_folder), "--test_data", str(pair_folder), "--output_dir", str(tmp_path / "o")]
    assert main([*train.split(), *data, "--init", str(file)]) == 0
    trained = network_from(tmp_path / "o").state_dict()
    assert all(torch.equal(trained[name], weight) for name, weight in weights(SMALL_NAFNET).items())


def json_of(architecture: dict[str, object]) -> dict[str, object]:
    """Tuples become lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in architecture.items()}
