"""Checkpoints: the published names and keys, whole files only, proved by their sha256, no pickled code."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from deblur.errors import DiskFull, ModelError
from deblur.models.checkpoint import (
    Best,
    best_name,
    load_checkpoint,
    network_from,
    network_of,
    read_state,
    recover_state,
    save_checkpoint,
    save_state,
)
from deblur.models.unet import DeblurUNet
from tests.conftest import sharpening_network, small_disk


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


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model_state_dict", [torch.zeros(1)]),
        ("model_state_dict", {0: torch.zeros(1)}),
        ("ema_state_dict", torch.zeros(2)),
        ("architecture", "unet"),
        ("architecture", {"name": ["DeblurUNet"]}),
    ],
)
def test_checkpoints_of_other_people_are_refused_by_the_part_that_is_wrong(
    tmp_path: Path, part: str, value: object
) -> None:
    torch.save({"model_state_dict": {"weight": torch.zeros(1)}, part: value}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=rf"a\.pth is not a checkpoint of this program: its {part} is "):
        network_from(tmp_path / "a.pth")


def test_weights_of_another_network_are_refused() -> None:
    state = {"model_state_dict": DeblurUNet(16).state_dict(), "architecture": DeblurUNet(8).architecture}
    with pytest.raises(ModelError, match="another network"):
        network_of(state)


def state(step: int) -> dict[str, object]:
    weights = {"weight": torch.full((50,), float(step))}
    return {"epoch": step // 2, "step": step, "model_state_dict": weights}


def step_in(folder: Path) -> int:
    """The step of the state that resuming would take, read whole."""
    saved = read_state(folder)
    loaded = load_checkpoint(saved.data)
    assert loaded["step"] == saved.step == int(loaded["model_state_dict"]["weight"][0])
    return saved.step


@pytest.fixture
def two_states(tmp_path: Path) -> Path:
    """A folder after two saves: step 1 is kept, step 2 is the newest."""
    for step in (1, 2):
        save_state(tmp_path, state(step))
    return tmp_path


def test_the_newest_state_is_last_and_the_one_before_is_kept(two_states: Path) -> None:
    names = {"last.pth", "last.json", "previous.pth", "previous.json"}
    assert {path.name for path in two_states.iterdir()} == names
    commit = json.loads((two_states / "last.json").read_text())
    assert {"file": "last.pth", "epoch": 1, "step": 2}.items() <= commit.items()
    assert step_in(two_states) == 2
    save_state(two_states, state(3))
    assert load_checkpoint(two_states / "previous.pth")["step"] == 2
    assert {path.name for path in two_states.iterdir()} == names


def test_200_flipped_bits_and_50_cuts_are_all_noticed_by_name(two_states: Path) -> None:
    last = two_states / "last.pth"
    good = last.read_bytes()
    rng = np.random.default_rng(0)
    damages = []
    for bit in rng.choice(8 * len(good), 200, replace=False):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << (bit % 8)
        damages.append(bytes(flipped))
    damages += [good[:length] for length in rng.choice(len(good), 50, replace=False)]
    for damaged in damages:
        last.write_bytes(damaged)
        saved = read_state(two_states)
        assert (saved.file, saved.step) == ("previous.pth", 1)
        assert "last.pth" in saved.damaged[0]
        with pytest.raises(ModelError, match=r"last\.pth"):
            load_checkpoint(last)
    last.write_bytes(good)
    assert step_in(two_states) == 2


def test_a_damaged_commit_is_noticed_too(two_states: Path) -> None:
    commit = two_states / "last.json"
    good = commit.read_bytes()
    for damaged in (b"", good[:20], good.replace(b'"sha256": "', b'"sha256": "f')):
        commit.write_bytes(damaged)
        saved = read_state(two_states)
        assert (saved.file, saved.step) == ("previous.pth", 1)
        assert "last.json" in saved.damaged[0]


def test_where_nothing_is_whole_every_file_is_named(two_states: Path) -> None:
    for name in ("last.pth", "previous.pth"):
        (two_states / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=r"last\.pth is not .*previous\.pth is not ") as caught:
        read_state(two_states)
    assert "sha256" in str(caught.value)
    with pytest.raises(ModelError, match="nothing was saved yet"):
        read_state(two_states / "nowhere")


def test_a_state_that_was_fallen_back_to_is_not_pushed_out_by_the_next(two_states: Path) -> None:
    (two_states / "last.pth").write_bytes(b"damaged")
    assert recover_state(two_states).step == 1
    assert step_in(two_states) == 1
    for stage in range(5):
        with killed_at(stage), pytest.raises(Killed):
            save_state(two_states, state(2))
        assert recover_state(two_states).step == 1


class Killed(BaseException):
    pass


def killed_at(stage: int) -> pytest.MonkeyPatch.context:  # type: ignore[valid-type]
    """Inside, the ``stage``-th rename never happens: as after a kill just before it."""
    patch = pytest.MonkeyPatch()
    renames = iter(range(100))
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if next(renames) == stage:
            raise Killed
        real(source, target)

    patch.setattr(os, "replace", replace)

    class Undo:
        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None:
            patch.undo()

    return Undo()


@pytest.mark.parametrize("stage", range(5))
def test_a_kill_between_any_two_renames_leaves_a_whole_state(two_states: Path, stage: int) -> None:
    with killed_at(stage), pytest.raises(Killed):
        save_state(two_states, state(3))
    assert step_in(two_states) == 2, "until last.json is written the old state counts"
    assert recover_state(two_states).damaged == []
    assert step_in(two_states) == 2
    save_state(two_states, state(3))
    assert step_in(two_states) == 3


def test_the_best_checkpoint_is_proved_where_its_digest_is_recorded(two_states: Path) -> None:
    best = two_states / best_name(1, 26.0)
    digest = save_checkpoint(best, state(2))
    save_state(two_states, state(3), Best(best.name, digest, 1, 26.0))
    assert load_checkpoint(best)["step"] == 2
    data = bytearray(best.read_bytes())
    data[len(data) // 2] ^= 4
    best.write_bytes(data)
    with pytest.raises(ModelError, match=r"best_model_epoch_1_psnr_26\.00\.pth is damaged"):
        load_checkpoint(best)


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=400) as disk:
        for step in (1, 2):
            save_state(disk, state(step))
        big = state(3) | {"more": torch.zeros(200_000)}
        with pytest.raises(DiskFull, match=r"No space left on device.*make room") as caught:
            save_state(disk, big)
        assert caught.value.exit_code == 4
        assert step_in(disk) == 2
        assert load_checkpoint(disk / "previous.pth")["step"] == 1
        assert not list(disk.glob("*.part"))
        save_state(disk, state(3))
        assert step_in(disk) == 3


def test_the_network_of_an_output_folder_is_its_newest_whole_average(tmp_path: Path) -> None:
    raw, average = sharpening_network(0), sharpening_network(1)
    weights = {"model_state_dict": raw.state_dict(), "ema_state_dict": average.state_dict()}
    save_state(tmp_path, {"epoch": 1, "step": 1, "architecture": raw.architecture, **weights})
    for path in (tmp_path, tmp_path / "last.pth"):
        again = network_from(path)
        assert torch.equal(again.head.weight, average.head.weight)
