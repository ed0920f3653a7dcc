"""From the sources that settings name to a finished run: nothing at all, sharp photos, and a mixture."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur.cli import main
from deblur.data.crops import Key
from deblur.data.photos import SharpPhoto
from deblur.data.scenes import write_scenes
from deblur.data.sources import hold_back, open_sources
from deblur.errors import DataError, SettingError
from deblur.registry.record import FINISHED
from deblur.training.progress import Progress
from deblur.training.recipe import Result, data_of, resolve, run
from deblur.training.settings import TrainSettings


def config(output: Path, *sources: str, **settings: object) -> TrainSettings:
    small = {"width": 8, "residual": True, "patch_size": 32, "batch_size": 2, "epoch_images": 4, "num_epochs": 2}
    fast = {"val_images": 2, "num_workers": 0, "tracking": "off", "output_dir": output, "train_data": sources}
    return TrainSettings().but(**(small | fast | settings)).resolved()


def finished(config: TrainSettings) -> Result:
    result = run(config)
    assert result is not None
    assert result.record.run["status"] == FINISHED
    assert result.scores is not None
    return result


def test_it_trains_from_nothing(tmp_path: Path) -> None:
    result = finished(config(tmp_path, "leaves", severity_schedule="ramp"))
    severities = [epoch["severity"] for epoch in epochs(tmp_path)]
    assert severities == [0.5, 0.5], "two epochs: the ramp is up at once"
    assert result.record.run["settings"]["train_data"] == ["leaves"]


def test_photos_alone_hold_some_of_themselves_back(tmp_path: Path, photo_folder: Path) -> None:
    result = finished(config(tmp_path, f"photos:{photo_folder}"))
    assert {score.name.split()[1] for score in result.scores.images} == {"astronaut.png"}


def test_an_interval_is_over_the_scenes_of_the_folders_table(tmp_path: Path, pair_folder: Path) -> None:
    """Six photographs whose names tell six scenes; the table tells five."""
    folder = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    names = sorted(file.name for file in (folder / "blur").iterdir())
    write_scenes(folder, {name: f"scene {max(number, 1)}" for number, name in enumerate(names)})
    settings = config(tmp_path / "o", str(pair_folder), test_data=(str(folder),), val_images=6, doctor="off")
    gain_db = data_of(settings, Progress()).validation.score(lambda pixels: pixels).gain_db
    assert (gain_db.groups, gain_db.by) == (5, "scenes")


def test_one_folder_of_pairs_is_enough(tmp_path: Path, pair_folder: Path) -> None:
    """Six photographs are six scenes; the line's source is what the run left out."""
    lines: list[str] = []
    settings = config(tmp_path / "o", str(pair_folder))
    data = data_of(settings, Progress(on_line=lines.append))
    (line,) = (line for line in lines if line.startswith("split by scene"))
    told = r"split by scene: 4 train, 1 validates, 1 kept for promotion \('deblur promote NAME --data (.*)'\)"
    found = re.fullmatch(told, line)
    assert found
    (promotion,) = open_sources([found[1]])
    result = run(settings, data)
    assert result is not None
    assert {score.name for score in result.scores.images} == {pair.name for pair in data.validation.pairs}
    recorded = result.record.run
    validated, kept = data.validation.pairs[0].name, promotion.pairs[0].name
    assert recorded["tags"]["split"] == (
        f"{pair_folder}: 4 train; validation: {Path(validated).stem}; promotion: {Path(kept).stem}"
    )
    trained = {data.train.name_of(key) for key in range(100)}
    assert len(trained | {validated, kept}) == 6
    assert not trained & {validated, kept}
    datasets = recorded["datasets"]
    assert [(each["context"], each["images"]) for each in datasets] == [
        ("training", 4),
        ("validation", 1),
        ("promotion", 1),
    ]
    assert datasets[2]["digest"] == promotion.fingerprint
    assert {(each["name"], each["source"], each["licence"]) for each in datasets} == {
        (pair_folder.name, str(pair_folder), "not stated")
    }


def test_what_is_kept_for_promotion_is_compared_with_what_trains(tmp_path: Path, pair_folder: Path) -> None:
    pairs = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    parts = hold_back(open_sources([str(pairs)]))
    kept, trained = (part[0].pairs[0] for part in (parts.promotion, parts.training))
    for copied, original in zip(kept.images, trained.images, strict=True):
        shutil.copy(original.files[0], copied.files[0])
    lines: list[str] = []
    data_of(config(tmp_path / "o", str(pairs)), Progress(on_line=lines.append))
    assert any("leak_same_file" in line and kept.name in line for line in lines), "told; nobody chose the split"
    with pytest.raises(DataError, match="leak_same_file"):
        data_of(config(tmp_path / "o", str(pairs), test_data=(f"promotion:{pairs}",)))


def test_what_is_kept_for_promotion_does_not_train(tmp_path: Path, pair_folder: Path) -> None:
    with pytest.raises(SettingError, match="kept for a promotion and never trains"):
        config(tmp_path, f"promotion:{pair_folder}")


def test_a_mixture_is_blurred_on_the_device_as_by_the_loader(
    tmp_path: Path, photo_folder: Path, pair_folder: Path
) -> None:
    """Without noise the two agree within a code, so the losses do, too."""
    sources = (str(pair_folder), f"photos:{photo_folder}", "leaves")
    losses = []
    for place in ("loader", "device"):
        settings = {
            "test_data": (str(pair_folder),),
            "doctor": "off",
            "synthesis": place,
            "learning_rate": 1e-9,
            "seed": 3,
        }
        finished(config(tmp_path / place, *sources, **settings, cache=tmp_path / "cache"))
        losses.append([epoch["train_loss"] for epoch in epochs(tmp_path / place)])
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]


def test_the_doctor_looks_before_a_run_begins(pair_folder: Path, tmp_path: Path) -> None:
    """The same pairs on both sides: told, with the way to see more and the way around."""
    leaking = config(tmp_path / "o", str(pair_folder), test_data=(str(pair_folder),))
    with pytest.raises(DataError, match=r"leak_same_file.*'deblur doctor .*--val.*with doctor off"):
        run(leaking)
    assert not (tmp_path / "o" / "run.json").exists(), "no run has begun"
    shutil.copytree(pair_folder / "sharp", tmp_path / "photos")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"unreadable.*photos --patch_size"):  # held back: nothing to compare with
        run(config(tmp_path / "o", f"photos:{tmp_path / 'photos'}"))
    assert data_of(leaking.but(doctor="off")).epoch_images == 4


def test_what_may_be_left_out_is_no_reason_to_stop(pair_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    pairs = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    broken = pairs / "blur" / "coffee.png"
    broken.write_bytes(broken.read_bytes()[:1500])
    settings = config(tmp_path / "o", str(pairs), test_data=(f"photos:{photo_folder}",))
    with pytest.raises(DataError, match=r"coffee\.png"):
        data_of(settings)
    assert "coffee.png" in data_of(settings.but(skip_bad=1)).left_out[0]


def suggested(error: Exception) -> list[str]:
    """The arguments of the quoted command."""
    command = str(error).rpartition("'deblur doctor ")[2].rpartition("' shows more")[0]
    return ["doctor", *shlex.split(command)]


@pytest.mark.parametrize(
    ("fault", "kind", "way"),
    [
        ("leak", "leak_same_file", "with doctor off the run begins"),
        ("grey", "colours", "with doctor off the run begins"),
        ("size", "size", "with skip_bad 1 or more the run begins"),
        ("thin", "too_small", "with skip_bad 1 or more the run begins"),
        ("val", "too_small", "a run cannot begin"),
    ],
)
def test_the_doctors_advice_is_true(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, kind: str, way: str
) -> None:
    """The command finds the same, also where a folder's name has spaces and quotes; the way out leads out."""
    train = Path(shutil.copytree(pair_folder, tmp_path / "Tom's new pairs"))
    val = Path(shutil.copytree(pair_folder, tmp_path / "to validate"))
    for path in [*train.rglob("*/*.png"), *val.rglob("*/*.png")]:
        if (path.stem == "china") == path.is_relative_to(train):
            path.unlink()
    broken = (val if fault == "val" else train) / "blur" / ("china.png" if fault == "val" else "coffee.png")
    for path in (broken, broken.parent.parent / "sharp" / broken.name):
        if fault in ("thin", "val"):
            Image.open(path).crop((0, 0, 90, 1)).save(path)
    if fault == "leak":
        for side in ("blur", "sharp"):
            shutil.copy(train / side / "coffee.png", val / side / "other.png")
    if fault == "grey":
        Image.open(broken).convert("L").convert("RGB").save(broken)
    if fault == "size":
        Image.open(broken).crop((0, 0, 90, 90)).save(broken)
    settings = config(tmp_path / "o", str(train), test_data=(str(val),))
    with pytest.raises(DataError, match=rf"{kind}.*{way}") as refused:
        data_of(settings)
    capsys.readouterr()
    assert main(suggested(refused.value)) == 1
    assert kind in capsys.readouterr().out
    if "doctor off" in way:
        assert all(data_of(settings.but(doctor="off")).train[Key(key)] for key in range(8))
    if "skip_bad" in way:
        data = data_of(settings.but(skip_bad=1))
        assert broken.name in data.left_out[0]
        assert all(data.train[Key(key)] for key in range(8))


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("doctor", ["on", "off"])
def test_pairs_that_hold_no_crop_are_left_out(pair_folder: Path, tmp_path: Path, cached: bool, doctor: str) -> None:
    pairs = Path(shutil.copytree(pair_folder, tmp_path / "pairs"))
    for path in pairs.rglob("*/coffee.png"):
        Image.open(path).crop((0, 0, 300, 1)).save(path)
    leaves = {"test_data": ("leaves",), "doctor": doctor, "cache": tmp_path / "cache" if cached else None}
    settings = config(tmp_path / "o", str(pairs), **leaves)
    data = data_of(settings.but(skip_bad=1))
    (told,) = data.left_out
    assert "coffee.png: the image is" in told
    assert "smaller than the crop of 32 px (patch_size)" in told
    assert "coffee.png" not in {data.train.name_of(key) for key in range(50)}
    if cached or doctor == "on":
        with pytest.raises(DataError, match=r"coffee\.png"):
            data_of(settings)


def test_the_same_settings_mean_the_same_data(tmp_path: Path, photo_folder: Path) -> None:
    first, again = (data_of(config(tmp_path, f"photos:{photo_folder}", "leaves")) for _ in range(2))
    assert first.fingerprint == again.fingerprint
    names = [pair.name for pair in first.validation.pairs]
    assert names == [pair.name for pair in again.validation.pairs]
    weighed = data_of(config(tmp_path, f"photos:{photo_folder}=2", "leaves"))
    assert weighed.fingerprint != first.fingerprint


def test_denoising_and_measured_kernels_are_settings(tmp_path: Path, photo_folder: Path) -> None:
    noisy = data_of(config(tmp_path, f"photos:{photo_folder}", blur="noise", severity="strong"))
    blurry, sharp = noisy.validation.pairs[0].load()
    difference = blurry.astype(float) - sharp
    assert np.abs(difference).mean() > 0.2
    assert abs(np.corrcoef(difference[:, :-1].ravel(), difference[:, 1:].ravel())[0, 1]) < 0.2, "noise, not blur"
    (tmp_path / "kernels").mkdir()
    np.save(tmp_path / "kernels" / "line.npy", np.ones((1, 9)))
    measured = config(tmp_path, "leaves", kernels=tmp_path / "kernels", blur="camera")
    assert len(measured.ranges.measured) == 1
    before = data_of(measured).fingerprint
    np.save(tmp_path / "kernels" / "line.npy", np.ones((1, 101)))
    assert data_of(measured).fingerprint != before, "other kernels are other data"
    assert measured.ranges.reach_px >= 50, "long ones fit, too"


def test_frames_on_both_sides_are_noticed(tmp_path: Path, photos: dict[str, SharpPhoto]) -> None:
    (tmp_path / "clip").mkdir()
    for number in range(7):
        frame = photos["astronaut"].pixels[:128, 3 * number : 3 * number + 128]
        Image.fromarray(frame).save(tmp_path / "clip" / f"{number}.png")
    frames = f"frames:{tmp_path / 'clip'}"
    with pytest.raises(DataError, match="leak_same_file"):
        data_of(config(tmp_path, frames, test_data=(frames,)))


def test_a_copy_among_the_photos_is_told_where_nobody_chose_the_split(photo_folder: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    shutil.copy(photos / "astronaut.png", photos / "zebra.png")
    lines: list[str] = []
    data_of(config(tmp_path, f"photos:{photos}"), Progress(on_line=lines.append))
    assert any("leak_same_file" in line for line in lines)


def test_looking_at_settings_builds_nothing(photo_folder: Path, tmp_path: Path) -> None:
    resolve(config(tmp_path, f"photos:{photo_folder}", cache=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"severity": 1.5}, "severity is 1.5"),
        ({"average": 4}, "average is 4"),
        ({"kernels": Path("k"), "blur": "noise"}, "give one of them"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        config(tmp_path, "leaves", **settings)


def test_no_data_is_told_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 1
    assert "leaves, which need no data" in capsys.readouterr().err


def epochs(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{**entry, **entry.get("metrics", {})} for entry in map(json.loads, lines) if "train_loss" in str(entry)]
