"""LPIPS, against its definition, with weights in the files as they are published."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deblur.data.photos import SharpPhoto
from deblur.errors import DataError, SettingError
from deblur.losses.lpips import Lpips, load_lpips, lpips_distance
from tests.evaluation.test_blur_strength import softened

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
SLICES = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}


def made_weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random weights by the names of torchvision's AlexNet (with part of its classifier) and of LPIPS' alex.pth."""
    rng = torch.Generator().manual_seed(0)
    alexnet, linear = {"classifier.6.weight": torch.ones(10, 4096)}, {}
    for k, (index, shape) in enumerate(SHAPES.items()):
        fan_in = shape[1] * shape[2] * shape[3]
        alexnet[f"features.{index}.weight"] = torch.randn(shape, generator=rng) * (2 / fan_in) ** 0.5
        alexnet[f"features.{index}.bias"] = torch.randn(shape[0], generator=rng) / 10
        linear[f"lin{k}.model.1.weight"] = torch.rand(1, shape[0], 1, 1, generator=rng)
    return alexnet, linear


ALEXNET, LINEAR = made_weights()


def as_one() -> dict[str, Tensor]:
    """The same as ``lpips.LPIPS(net="alex").state_dict()`` names them."""
    state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
    for index, k in SLICES.items():
        for kind in ("weight", "bias"):
            state[f"net.slice{k}.{index}.{kind}"] = ALEXNET[f"features.{index}.{kind}"]
    return state | LINEAR | {f"lins.{name[3:]}": value for name, value in LINEAR.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    states = {"alexnet-owt-made.pth": ALEXNET, "alex.pth": LINEAR, "lpips.pth": as_one()}
    for name, state in states.items():
        torch.save(state, folder / name, _use_new_zipfile_serialization=name == "lpips.pth")  # the others are of 2018
    return {name: folder / name for name in states}


@pytest.fixture(scope="module")
def network(files: dict[str, Path]) -> Lpips:
    return load_lpips([files["lpips.pth"]])


@pytest.fixture(scope="module")
def sharp(photos: dict[str, SharpPhoto]) -> np.ndarray:
    return photos["astronaut"].pixels[:131, 150:301]


def by_definition(image: np.ndarray, sharp: np.ndarray) -> float:
    """Section 3 of the paper in float64, by functions: no module of ours, no loop over layers."""
    w = {name: value.double() for name, value in (ALEXNET | LINEAR).items()}
    shift, scale = (
        torch.tensor(x, dtype=torch.float64)[:, None, None] for x in ([-0.03, -0.088, -0.188], [0.458, 0.448, 0.45])
    )

    def features(rgb: np.ndarray) -> list[Tensor]:
        x = (torch.from_numpy(rgb.transpose(2, 0, 1).astype(float)) / 127.5 - 1 - shift) / scale
        one = functional.conv2d(x, w["features.0.weight"], w["features.0.bias"], 4, 2).relu()
        pooled = functional.max_pool2d(one, 3, 2)
        two = functional.conv2d(pooled, w["features.3.weight"], w["features.3.bias"], 1, 2).relu()
        pooled = functional.max_pool2d(two, 3, 2)
        three = functional.conv2d(pooled, w["features.6.weight"], w["features.6.bias"], 1, 1).relu()
        four = functional.conv2d(three, w["features.8.weight"], w["features.8.bias"], 1, 1).relu()
        return [
            one,
            two,
            three,
            four,
            functional.conv2d(four, w["features.10.weight"], w["features.10.bias"], 1, 1).relu(),
        ]

    total = 0.0
    for k, (a, b) in enumerate(zip(features(image), features(sharp), strict=True)):
        a, b = (x.numpy() / np.sqrt((x.numpy() ** 2).sum(axis=0)) for x in (a, b))
        total += np.einsum("c,chw->hw", w[f"lin{k}.model.1.weight"].flatten().numpy(), (a - b) ** 2).mean()
    return total


def test_it_is_its_definition(network: Lpips, sharp: np.ndarray) -> None:
    for image in (softened(sharp, 2), 255 - sharp, np.roll(sharp, 5, 1)):
        assert lpips_distance(network, image, sharp) == pytest.approx(by_definition(image, sharp), rel=1e-4)


def test_both_published_ways_give_the_same(files: dict[str, Path], network: Lpips, sharp: np.ndarray) -> None:
    blurry = softened(sharp, 2)
    expected = lpips_distance(network, blurry, sharp)
    for names in (("alexnet-owt-made.pth", "alex.pth"), ("alex.pth", "alexnet-owt-made.pth")):
        assert lpips_distance(load_lpips([files[name] for name in names]), blurry, sharp) == expected


def test_equal_images_have_none_it_is_symmetric_and_grows_with_blur(network: Lpips, sharp: np.ndarray) -> None:
    assert lpips_distance(network, sharp, sharp) == 0
    distances = [lpips_distance(network, softened(sharp, sigma), sharp) for sigma in (0.5, 1, 2, 4)]
    assert distances[0] > 0
    assert all(np.diff(distances) > 0)
    assert lpips_distance(network, sharp, softened(sharp, 4)) == pytest.approx(distances[-1], rel=1e-6)
    flat = np.full_like(sharp, 255)
    assert np.isfinite(lpips_distance(network, flat, 255 - flat))


def test_a_batch_has_a_distance_each(network: Lpips, sharp: np.ndarray) -> None:
    images = [softened(sharp, 1), sharp, softened(sharp, 3)]
    a, b = (torch.from_numpy(np.stack(x).transpose(0, 3, 1, 2)) / 255 for x in (images, [sharp] * 3))
    expected = [lpips_distance(network, image, sharp) for image in images]
    assert network(a, b).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_the_smallest_image_is_said(network: Lpips, sharp: np.ndarray) -> None:
    assert lpips_distance(network, softened(sharp, 1)[:31, :31], sharp[:31, :31]) > 0
    with pytest.raises(DataError, match="at least 31 px a side; this one has 151 x 30"):
        lpips_distance(network, sharp[:30], sharp[:30])


class Planted:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (Path("planted"),)


def test_pickled_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(as_one() | {"more": Planted()}, tmp_path / "planted.pth")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pth")
    for name in ("planted.pth", "module.pth"):
        with pytest.raises(SettingError, match=rf"{name} holds no weights that can be read \(UnpicklingError\)"):
            load_lpips([files["lpips.pth"], tmp_path / name])
    assert not (tmp_path / "planted").exists()


def test_what_came_and_what_is_wanted_is_said(tmp_path: Path, files: dict[str, Path]) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([torch.ones(3)], tmp_path / "list.pth")
    torch.save({**LINEAR, "lin0.model.1.weight": torch.ones(1, 128, 1, 1)}, tmp_path / "vgg.pth")
    said = {
        "There is no file .*nowhere.pth": [tmp_path / "nowhere.pth"],
        "holds no weights that can be read .IsADirectoryError": [tmp_path],
        "text.pth holds no weights that can be read .UnpicklingError": [tmp_path / "text.pth"],
        "list.pth holds list instead of named weights": [tmp_path / "list.pth"],
        "No file: 15 of LPIPS' 15 tensors missing": [],
        "alex.pth: 10 of LPIPS' 15 .*features.0.weight, features.0.bias, features.3.weight ...": [files["alex.pth"]],
        "owt-made.pth: 5 of LPIPS' 15 .*lins.0.weight": [files["alexnet-owt-made.pth"]],
        "vgg.pth: 1 of LPIPS' 15 .* another shape .lins.0.weight": [
            files["alexnet-owt-made.pth"],
            tmp_path / "vgg.pth",
        ],
    }
    for sentence, given in said.items():
        with pytest.raises(SettingError, match=rf"(?s){sentence}.*alexnet-owt-\*\.pth.*LPIPS\(net='alex'\)"):
            load_lpips(given)
