"""Distillation: a student under a teacher, asked or saved, stopped and resumed to the same bits."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from deblur.cli import main
from deblur.data.batches import Batch
from deblur.data.teaching import read_answers
from deblur.errors import SettingError
from deblur.export.importing import Known, import_model
from deblur.inference.engine import Tiles
from deblur.inference.tiling import SizeRule
from deblur.losses.objective import Objective
from deblur.models import ARCHITECTURES, build
from deblur.models.features import feature_channels
from deblur.registry.record import RunRecord
from deblur.training.optimization import Decay, Optimization
from deblur.training.progress import Progress
from deblur.training.recipe import run
from deblur.training.settings import TrainSettings
from deblur.training.state import TrainingState
from deblur.training.step import Lesson, optimizer_step
from deblur.training.teacher import engine_answers, find_teacher
from tests.export.foreign_networks import sharpened, sharpener
from tests.losses.test_families import vgg
from tests.models.small import SMALL, small
from tests.training.bits import bits_of, same_bits
from tests.training.tiny import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher: a file as NAFNet's authors publish theirs."""
    file = tmp_path_factory.mktemp("teacher") / "nafnet.pth"
    torch.save({"params": small("NAFNet").state_dict()}, file)
    return file


def settings_of(pairs: Path, output: Path, teacher: Path, **changes: object) -> TrainSettings:
    taught = {
        "loss": ("charbonnier", "teacher:l1=0.5", "teacher:features=0.1"),
        "teacher": str(teacher),
        "teacher_decay": "cosine@0.8",
    }
    course = {"num_epochs": 3, "epoch_images": 6, "learning_rate": 1e-3, "schedule": "onecycle"}
    network = {"network": "SeUNet", "precision": "f32", "patch_size": ("32@0.5", "48")}
    return tiny(output, str(pairs), **(taught | course | network | changes))


def stopped_after(steps: int) -> Progress:
    seen = [0]

    def on_images(images: int) -> None:
        seen[0] += images
        if seen[0] == 2 * steps:
            raise SystemExit(143)

    return Progress(on_images=on_images)


@pytest.mark.parametrize("saved", [False, True])
def test_a_stop_changes_no_bit_with_teacher_projections_and_growing_crops(
    tmp_path: Path, pair_folder: Path, official: Path, saved: bool
) -> None:
    """Nor which terms are told: the teacher's fade out in the last epoch."""
    teacher, changes = official, dict[str, object]()
    if saved:
        teacher = tmp_path / "answers"
        assert main(["teach", str(pair_folder), str(teacher), "--teacher", str(official), "--device", "cpu"]) == 0
        changes = {"loss": ("charbonnier", "teacher:l1=0.5"), "schedule": "restarts", "cache": tmp_path / "cache"}
    folders = [tmp_path / name for name in ("whole", "stopped")]
    run(settings_of(pair_folder, folders[0], teacher, **changes))
    stopped = settings_of(pair_folder, folders[1], teacher, **changes)
    with pytest.raises(SystemExit):
        run(stopped, progress=stopped_after(4))
    lines = list[str]()
    run(stopped, progress=Progress(on_line=lines.append))
    assert "resumed after epoch 1, step 4" in lines
    whole, resumed = map(bits_of, folders)
    assert same_bits(whole, resumed)
    assert any(name.startswith("objective") for name in whole) != saved
    told = [{name for name in line["metrics"] if "teacher" in name} for line in RunRecord(folders[1]).epochs[:3]]
    names = {"train_teacher_l1"} | (set() if saved else {"train_teacher_features"})
    assert told == [names, names, set()]


def test_another_teacher_under_the_same_name_begins_another_run(
    tmp_path: Path, pair_folder: Path, official: Path
) -> None:
    file, lines = tmp_path / "teacher.pth", list[str]()
    settings = settings_of(pair_folder, tmp_path / "run", file, num_epochs=1)
    for seed in (0, 1):
        torch.save({"params": small("NAFNet", seed).state_dict()}, file)
        with pytest.raises(SystemExit):
            run(settings, progress=replace(stopped_after(1), on_line=lines.append))
    assert any("teacher_sha256" in line for line in lines)


def test_answers_to_other_pairs_change_no_run(tmp_path: Path, pair_folder: Path, official: Path) -> None:
    few, answers, lines = tmp_path / "few", tmp_path / "answers", list[str]()
    for side in ("blur", "sharp"):
        (few / side).mkdir(parents=True)
        for file in sorted((pair_folder / side).iterdir())[:3]:
            shutil.copy(file, few / side)
    teach = ["teach", str(few), str(answers), "--teacher", str(official), "--device", "cpu"]
    assert main(teach) == 0
    settings = settings_of(few, tmp_path / "run", answers, loss=("charbonnier", "teacher:l1=0.5"), num_epochs=1)
    with pytest.raises(SystemExit):
        run(settings, progress=stopped_after(1))
    assert main([*teach[:1], str(pair_folder), *teach[2:]]) == 0
    run(settings, progress=Progress(on_line=lines.append))
    assert "resumed after epoch 0, step 1" in lines


def test_vggs_weights_are_known_by_what_they_are(tmp_path: Path, pair_folder: Path, official: Path) -> None:
    """They may move, other ones begin another run, and what cannot be read is told while the earlier run stands."""
    file, lines, where = tmp_path / "vgg.pth", list[str](), tmp_path / "run"
    torch.save(vgg(), file)
    usual = settings_of(pair_folder, where, official, num_epochs=1).but(teacher=None, teacher_decay="none")
    settings = usual.but(loss=("l1", "perceptual=0.1"), vgg=file).resolved()
    with pytest.raises(SystemExit):
        run(settings, progress=stopped_after(1))
    moved = file.rename(tmp_path / "moved.pth")
    with pytest.raises(SettingError, match=r"needs vgg, .*; there is no .*vgg\.pth"):
        settings.resolved()
    with pytest.raises(SystemExit):
        run(settings.but(vgg=moved).resolved(), progress=replace(stopped_after(1), on_line=lines.append))
    assert "resumed after epoch 0, step 1" in lines
    file.write_bytes(b"nothing")
    with pytest.raises(SettingError, match="holds no weights of VGG-19"):
        run(settings.resolved())  # which only looks whether there is a file
    assert not (where / "earlier").exists()
    torch.save({name: weight + 0.01 for name, weight in vgg().items()}, file)
    with pytest.raises(SystemExit):
        run(settings, progress=replace(stopped_after(1), on_line=lines.append))
    assert any("vgg_sha256" in line for line in lines)


def distilled(decay: Decay, step: int = 0) -> tuple[TrainingState, dict[str, float]]:
    """A step at a place of a run of 100; what its terms were."""
    student, teacher = small("SeUNet"), small("NAFNet", 1)
    objective = Objective({"l1": 1.0, "teacher:l1": 1.0})
    answers = None if decay.kind == "none" else lambda blurry: (teacher.eval()(blurry).detach().clamp(0, 1), None)
    state = TrainingState(student, objective, Optimization(1e-3), 100, CPU, "f32", answers, decay)
    state.counters.step = step
    sharp = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return state, optimizer_step(state, Lesson(state), [Batch(sharp * 0.8, sharp)]).terms


def test_guidance_fades_and_then_nobody_asks() -> None:
    assert [Decay.parse("linear").at(x) for x in (0, 0.25, 1)] == [1, 0.75, 0]
    assert [Decay.parse("cosine@0.5").at(x) for x in (0, 0.25, 0.5, 0.9)] == pytest.approx([1, 0.5, 0, 0])
    assert Decay.parse("none").at(1) == 1
    assert set(distilled(Decay("linear", 0.5))[1]) == {"l1", "teacher_l1"}
    assert set(distilled(Decay("linear", 0.5), step=50)[1]) == {"l1"}
    with pytest.raises(AssertionError, match="who answers"):
        distilled(Decay())
    for text in ("cubic", "linear@0", "cosine@2", "linear@x"):
        with pytest.raises(SettingError, match=r"cosine@0\.8"):
            Decay.parse(text)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_says_where_its_features_are(name: str) -> None:
    network = small(name) if name in SMALL else build({"name": name, "width": 8})
    assert feature_channels(network) >= 8 or name == "StackedConv"


def test_every_kind_of_teacher_is_found(official: Path, model_folder: Path) -> None:
    from_file, from_folder = find_teacher(str(official)), find_teacher(str(model_folder))
    crops = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for teacher in (from_file, from_folder):
        assert teacher.network is not None
        answers, features = teacher.answers(CPU, None)(crops)
        assert answers.shape == crops.shape
        assert features is not None
        with torch.no_grad():
            assert torch.equal(answers, teacher.network(crops).clamp(0, 1))
    assert from_file.sha256 != from_folder.sha256
    restored = [teacher.restorer(CPU)(crops[0].permute(1, 2, 0).numpy()) for teacher in (from_file, from_folder)]
    assert all(picture.shape == (32, 32, 3) for picture in restored)


def test_an_engine_of_one_size_answers_smaller_crops() -> None:
    def brighten(batch: Tiles, /) -> Tiles:
        assert batch.shape == (1, 3, 64, 64)
        return np.asarray(batch + np.float32(0.25), np.float32)

    crops = torch.rand(2, 3, 16, 32)
    answers, features = engine_answers(lambda tiles: (brighten(tiles),), SizeRule(64, 64, 64))(crops)
    assert torch.allclose(answers, (crops + 0.25).clamp(0, 1))
    assert features is None


@pytest.mark.parametrize("size", [None, 64])
def test_a_model_of_others_shows_an_inner_tensor(size: int | None, tmp_path: Path, pair_folder: Path) -> None:
    """What a sharpener adds: its amounts times what its blur takes away."""
    file, folder = sharpener(tmp_path / "theirs.onnx", size=size), tmp_path / "theirs"
    _, added, *_ = [node.output[0] for node in onnx.load(file).graph.node if node.op_type == "Mul"]
    arguments = ["import", str(file), str(folder), "--name", "theirs", "--licence", "MIT", "--order", "rgb"]
    assert main([*arguments, "--features", "nowhere"]) == 1
    assert not folder.exists()
    assert main([*arguments, "--features", added]) == 0
    teacher = find_teacher(str(folder))
    assert teacher.channels == 3
    crops = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    answers, features = teacher.answers(CPU, None)(crops)
    assert features is not None
    inner = np.s_[:, :, 2:-2, 2:-2]
    assert torch.allclose(answers[inner], (crops + features).clamp(0, 1)[inner], atol=1e-5)
    out = tmp_path / "out"
    run(settings_of(pair_folder, out, folder, num_epochs=1))
    assert RunRecord(out).epochs[0]["metrics"]["train_teacher_features"] > 0


def test_a_model_of_others_teaches_by_its_engine(tmp_path: Path, pair_folder: Path) -> None:
    """It takes 64 px only: smaller crops are filled up, larger ones are for answers made beforehand, tile by tile."""
    folder = tmp_path / "theirs"
    import_model(sharpener(tmp_path / "theirs.onnx", size=64), folder, name="theirs", known=Known(order="rgb"))
    teacher = find_teacher(str(folder))
    assert teacher.network is None
    crops = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    answers, features = teacher.answers(CPU, None)(crops)
    inner = np.s_[:, :, 2:-2, 2:-2]
    assert np.abs(answers.numpy()[inner] - sharpened(crops.numpy())[inner]).max() < 1e-4
    assert features is None
    with pytest.raises(SettingError, match="takes sides of 64 px only, and crops have 80 px"):
        run(settings_of(pair_folder, tmp_path / "out", folder, loss=("l1", "teacher:l1"), patch_size=80))
    assert not (tmp_path / "out" / "run.json").exists()
    assert main(["teach", str(pair_folder), str(tmp_path / "answers"), "--teacher", str(folder)]) == 0
    assert len(read_answers(tmp_path / "answers").names) == 6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher": None, "loss": ("teacher:l1",)}, "needs a teacher"),
        ({"loss": ("l1",)}, "term of the loss that asks it"),
        ({"loss": ("l1", "perceptual")}, "needs vgg"),
        ({"teacher_decay": "slowly"}, "teacher_decay is slowly"),
    ],
)
def test_a_loss_and_a_teacher_that_do_not_suit_are_refused(
    changes: dict[str, object], sentence: str, tmp_path: Path, pair_folder: Path, official: Path
) -> None:
    with pytest.raises(SettingError, match=sentence):
        settings_of(pair_folder, tmp_path / "out", official).but(**changes).resolved()


def test_saved_answers_have_no_features(tmp_path: Path, pair_folder: Path, official: Path) -> None:
    assert main(["teach", str(pair_folder), str(tmp_path / "answers"), "--teacher", str(official)]) == 0
    with pytest.raises(SettingError, match="no saved answers"):
        run(settings_of(pair_folder, tmp_path / "out", tmp_path / "answers"))
    assert not (tmp_path / "out" / "run.json").exists()
