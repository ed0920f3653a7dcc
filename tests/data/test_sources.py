"""Sources: named on the command line, opened, mixed by weight, frozen for validation."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from deblur.data.batches import UnblurredBatch, collate
from deblur.data.blurred import BlurredCrops, Leaves, Photos
from deblur.data.crops import Key, RunOrder, to_float
from deblur.data.loading import end_workers, feed_of
from deblur.data.pairs import ImageFile, fingerprint
from deblur.data.photos import SharpPhoto
from deblur.data.scenes import write_scenes
from deblur.data.sources import (
    FIXED_SEED,
    FIXED_SIDE_PX,
    Mixture,
    Reading,
    Source,
    SourceName,
    fingerprint_of,
    hold_back,
    mixture,
    open_source,
    prepared,
    validation_pairs,
)
from deblur.errors import DataError, SettingError
from deblur.evaluation.scores import EvaluationSet
from deblur.metrics import psnr_db
from deblur.synthesis.draw import NOISE_ONLY, BlurRanges


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """Twelve sharp photos, two of them in a folder below."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    names = [name for name, photo in photos.items() if min(photo.pixels.shape[:2]) >= 300][:12]
    for i, name in enumerate(names):
        place = folder / "more" if i < 2 else folder
        Image.fromarray(photos[name].pixels[:300, :300]).save(place / f"{name}.png")
    return folder


def opened(*texts: str) -> list:
    return [open_source(SourceName.parse(text), Reading()) for text in texts]


def test_a_folder_tells_its_kind(pair_folder: Path, photo_folder: Path) -> None:
    assert SourceName.parse(str(pair_folder)).kind == "pairs"
    assert SourceName.parse(f"{photo_folder}=0.5") == SourceName("photos", photo_folder, 0.5)
    assert SourceName.parse(f"frames:{photo_folder}=2").kind == "frames"
    assert SourceName.parse("leaves=3") == SourceName("leaves", None, 3.0)
    assert SourceName.parse("not/there").kind == "pairs", "what is not there yet is complained about when it is opened"


def test_names_survive_being_written_down(photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "set=7").mkdir()
    assert SourceName.parse(f"photos:{tmp_path}/set=7") == SourceName("photos", tmp_path / "set=7", 1.0)
    for text in (
        f"photos:{tmp_path}/set=7=1",
        f"photos:{tmp_path}/set=7=3",
        f"photos:{photo_folder}",
        f"photos:{photo_folder}=0.25",
        "leaves",
        "leaves=2",
        "pairs:/a/b=c/d",
        "promotion:pairs:/a/b=2",
        "promotion:frames:/a/b",
    ):
        name = SourceName.parse(text)
        assert SourceName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "leaves=0",
        "leaves=-1",
        "leaves=nan",
        "leaves=inf",
        "photos:",
        "=2",
        "leaves:x",
        "promotion:",
        "promotion:leaves",
    ],
)
def test_names_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(SettingError):
        SourceName.parse(text)


def test_a_folder_called_leaves_is_told_from_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(SourceName.parse("leaves:")) == "leaves"
    (tmp_path / "leaves").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "leaves" / "a.png")
    for text in ("leaves", "leaves=2"):
        with pytest.raises(SettingError, match=r"Give \./leaves for the folder, or leaves: for generated"):
            SourceName.parse(text)
    for text, weight in (("leaves:", 1), ("leaves:=2", 2)):
        generated = SourceName.parse(text)
        assert generated == SourceName("leaves", None, weight) == SourceName.parse(str(generated))
    folder = SourceName.parse("./leaves=2")
    assert folder == SourceName("photos", tmp_path / "leaves", 2.0) == SourceName.parse(str(folder))


def test_a_folder_of_folders_must_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(SettingError, match=r"frames:.* or photos:"):
        SourceName.parse(str(tmp_path))
    with pytest.raises(DataError, match="holds no photos"):
        opened(f"photos:{tmp_path}")
    with pytest.raises(DataError, match="is not a folder"):
        opened(f"photos:{tmp_path / 'none'}")


def test_sharp_alone_are_photos_and_blurry_ones_are_not(pair_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(pair_folder / "sharp", tmp_path / "sharp")
    assert SourceName.parse(str(tmp_path)).kind == "photos"
    with pytest.raises(DataError, match="holds pairs"):
        opened(f"photos:{pair_folder}")


@pytest.mark.parametrize("sides", [("", "lq", "gt"), ("seq1", "blur", "sharp"), ("a/seq1", "blur_gamma", "sharp")])
def test_pairs_are_no_photos_wherever_they_lie(pair_folder: Path, tmp_path: Path, sides: tuple[str, str, str]) -> None:
    place, blurry, sharp = sides
    for number in range(5):
        for name, side in ((blurry, "blur"), (sharp, "sharp")):
            shutil.copytree(pair_folder / side, tmp_path / f"{number}" / place / name)
    with pytest.raises(DataError, match=f"Give photos:{tmp_path / '0' / place / sharp} photos.* and 2 more"):
        opened(f"photos:{tmp_path}")
    assert opened(f"photos:{tmp_path / '0' / place / sharp}")[0].images == 6


def test_weights_say_how_often_a_source_is_drawn(pair_folder: Path, photo_folder: Path) -> None:
    crops = mixture(opened(f"{pair_folder}=2", f"photos:{photo_folder}=1", "leaves=1"), 32, seed=3)
    assert isinstance(crops, Mixture)
    drawn = Counter(crops.parts.index(crops._part(key)) for key in range(4000))
    for part, share in enumerate((0.5, 0.25, 0.25)):
        assert abs(drawn[part] / 4000 - share) < 4 * np.sqrt(share * (1 - share) / 4000)
    names = {crops.name_of(key) for key in range(4000)}
    assert len(names) > 900, "leaves are never the same"
    assert {path.name for path in (*pair_folder.glob("blur/*"), *photo_folder.glob("*.png"))} <= names


def test_samples_do_not_depend_on_the_workers(pair_folder: Path, photo_folder: Path) -> None:
    sources = opened(str(pair_folder), f"photos:{photo_folder}", "leaves")
    runs = []
    for workers in (0, 2):
        order = RunOrder(12, 4)
        order.start(1, strength=0.7)
        loader = DataLoader(mixture(sources, 32, seed=5), 4, sampler=order, num_workers=workers, collate_fn=collate)
        runs.append([part for batch in loader for part in batch if part is not None])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    again = mixture(opened(str(pair_folder), f"photos:{photo_folder}", "leaves"), 32, seed=5)[Key(12, 0.7)]
    assert torch.equal(again[0], runs[0][0][0]), "and a run that resumes draws the same"


def test_strength_is_part_of_the_sample(photo_folder: Path) -> None:
    crops = mixture(opened(f"photos:{photo_folder}"), 64, seed=0)
    for key in range(8):
        weak, strong = (crops[Key(key, strength)] for strength in (0.05, 1.0))
        assert torch.equal(crops[Key(key, 1.0)][0], strong[0])
        far, near = (float((to_float(b) - to_float(s)).abs().mean()) for b, s in (strong[:2], weak[:2]))
        assert near <= far


def test_blur_on_the_device_is_the_blur_of_the_loader(photo_folder: Path) -> None:
    photos = Photos(opened(f"photos:{photo_folder}")[0].photos, 0)
    ranges = BlurRanges(noise_share=0.0)
    keys = [Key(key, 0.6) for key in range(6)]
    here = [BlurredCrops(photos, 48, 0, ranges)[key] for key in keys]
    batch = collate([BlurredCrops(photos, 48, 0, ranges, on_device=True)[key] for key in keys])
    assert isinstance(batch, UnblurredBatch)
    blurry, sharp, *_ = batch.on(torch.device("cpu"))
    assert torch.equal(sharp, to_float(torch.stack([pair[1] for pair in here])))
    assert float((blurry - to_float(torch.stack([pair[0] for pair in here]))).abs().mean()) < 0.5 / 255


def test_leaves_on_the_device_are_those_of_the_loader_and_go_on_with_the_same_bits() -> None:
    """Equal but at the tips of leaves, and to two codes where the content is enlarged or shrunk; no pixels travel."""
    ranges, cpu, order = BlurRanges(noise_share=0.0), torch.device("cpu"), RunOrder(24, 8)
    feed = feed_of(BlurredCrops(Leaves(), 48, 3, ranges, True), order, accumulate=1, workers=2, pin_memory=False)
    batches = list(feed.batches())
    assert all(isinstance(batch, UnblurredBatch) and batch.sources is None for batch in batches)
    whole = [batch.on(cpu) for batch in batches]
    here = [BlurredCrops(Leaves(), 48, 3, ranges)[Key(key)] for key in range(24)]
    for side in (0, 1):
        found = torch.cat([batch[side] for batch in whole])
        expected = to_float(torch.stack([sample[side] for sample in here]))
        assert float((found - expected).abs().mean()) < 0.3 / 255
        assert float(((found - expected).abs() > 2.5 / 255).float().mean()) < (0.03, 2e-3)[side]
    order.start(0, first_step=2)
    (last,) = [batch.on(cpu) for batch in feed.batches()]
    assert torch.equal(last.blurry, whole[2].blurry)
    assert torch.equal(last.sharp, whole[2].sharp)
    end_workers(feed.loader)


def test_a_mixed_batch_holds_what_is_ready_and_what_is_not(pair_folder: Path) -> None:
    crops = mixture(opened(str(pair_folder), "leaves"), 32, seed=1, on_device=True)
    batch = collate([crops[Key(key)] for key in range(12)])
    assert isinstance(batch, UnblurredBatch)
    assert batch.ready is not None
    blurry, sharp, *_ = batch.on(torch.device("cpu"))
    assert blurry.shape == sharp.shape == (12, 3, 32, 32)
    assert 0 <= float(blurry.min()) <= float(blurry.max()) <= 1


def test_synthetic_validation_is_the_same_every_time_and_blurred(photo_folder: Path) -> None:
    for source in (f"photos:{photo_folder}", "leaves"):
        first, again = (validation_pairs(opened(source), 4, 0.5)[0] for _ in range(2))
        assert len(first) == 4
        assert fingerprint(first) == fingerprint(again)
        assert fingerprint(first) != fingerprint(validation_pairs(opened(source), 4, 0.6)[0])
        assert max(psnr_db(*pair.load()) for pair in first) < 40
        trained = BlurredCrops(opened(source)[0].cuttings(FIXED_SEED), FIXED_SIDE_PX, FIXED_SEED)
        sharp = [trained.pair(Key(key, 0.5))[1] for key in range(4)]
        assert not any(np.array_equal(pair.load()[1], crop) for pair in first for crop in sharp), "other crops"


def test_pairs_validate_as_they_are(pair_folder: Path) -> None:
    assert [pair.name for pair in validation_pairs(opened(str(pair_folder)), None, 0.5)[0]] == sorted(
        path.name for path in (pair_folder / "blur").iterdir()
    )


def test_pairs_of_one_name_keep_their_scenes(pair_folder: Path, tmp_path: Path) -> None:
    """As in sets of 'deblur synth', whose pairs are 000000.png and on."""
    for number in (1, 2):
        shutil.copytree(pair_folder, tmp_path / f"{number}")
    names = sorted(path.name for path in (pair_folder / "blur").iterdir())
    write_scenes(tmp_path / "1", {name: f"scene {i}" for i, name in enumerate(names)})
    write_scenes(tmp_path / "2", dict.fromkeys(names, "scene 0"))
    pairs, scenes = validation_pairs(opened(str(tmp_path / "1"), str(tmp_path / "2")), None, 0.5)
    assert [pair.name for pair in pairs] == names * 2
    assert [scenes.count(scene) for scene in scenes] == [1] * 6 + [6] * 6
    assert EvaluationSet(pairs, scenes).score(lambda pixels: pixels).gain_db.groups == 7


def test_crops_of_one_photo_are_one_scene(photo_folder: Path) -> None:
    held_back = hold_back(opened(f"photos:{photo_folder}")).validation
    assert len(set(validation_pairs(held_back, 8, 0.5)[1])) == 2
    assert len(set(validation_pairs(opened("leaves"), 8, 0.5)[1])) == 8


def test_every_tenth_photo_is_held_back(photo_folder: Path) -> None:
    train, validate, promotion = hold_back(opened(f"photos:{photo_folder}", "leaves"))
    assert not promotion
    held = {photo.name for source in validate for photo in source.photos}
    kept = {photo.name for source in train for photo in source.photos}
    assert len(held) == 2
    assert len(kept) == 10
    assert not held & kept
    assert hold_back(opened("leaves")).validation[0].name.kind == "leaves"


@pytest.fixture
def scenes(pair_folder: Path, tmp_path: Path) -> Path:
    """The six pairs, each two frames of a scene of its own."""
    for file in sorted(pair_folder.glob("*/*.png")):
        for number in (1, 2):
            (tmp_path / "scenes" / file.stem / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "scenes" / file.stem / file.parent.name / f"{number:04d}.png")
    return tmp_path / "scenes"


def names_of(sources: list[Source]) -> set[str]:
    return {pair.name for source in sources for pair in source.pairs}


def test_pairs_are_split_by_scene(scenes: Path) -> None:
    parts = hold_back(opened(str(scenes), "leaves"))
    names = [names_of(part) for part in parts]
    assert [len(each) for each in names] == [8, 2, 2]
    assert set().union(*names) == names_of(opened(str(scenes)))
    assert [len({Path(name).parent for name in each}) for each in names] == [4, 1, 1]
    assert [source.name.kind for source in parts.training] == ["pairs", "leaves"]
    for side in ("blur", "sharp"):
        shutil.copy(scenes / "coffee" / side / "0001.png", scenes / "coffee" / side / "0003.png")
    again = [names_of(part) for part in hold_back(opened(str(scenes)))]
    assert sum(map(len, again)) == 13
    assert all(before <= after for before, after in zip(names, again, strict=True)), "no scene has moved"


@pytest.mark.parametrize("kind", ["", "pairs:"])
def test_promotion_is_what_training_left_out(scenes: Path, kind: str) -> None:
    (kept,) = opened(f"promotion:{kind}{scenes}")
    (left_out,) = hold_back(opened(str(scenes))).promotion
    assert kept.pairs == left_out.pairs
    assert kept.fingerprint == left_out.fingerprint
    assert [pair.name for pair in validation_pairs([kept], None, 0.5)[0]] == [pair.name for pair in kept.pairs]
    with pytest.raises(SettingError, match=rf"promotion:pairs:{scenes} is kept .* never trains\. Give pairs:"):
        mixture([kept], 32, seed=0)


def test_frames_are_split_by_sequence(scenes: Path) -> None:
    for number, folder in enumerate(sorted(scenes.glob("*/sharp"))):
        shutil.copytree(folder, scenes.parent / "clips" / f"{number}")
        shutil.copy(folder / "0001.png", scenes.parent / "clips" / f"{number}" / "0003.png")
    source = f"frames:{scenes.parent / 'clips'}"
    reading = Reading(average=3)
    parts = hold_back([open_source(SourceName.parse(source), reading)])
    assert [len(names_of(part)) for part in parts] == [4, 1, 1]
    kept = open_source(SourceName.parse(f"promotion:{source}"), reading)
    assert names_of([kept]) == names_of(parts.promotion)


def test_too_few_scenes_are_told_with_the_way_out(scenes: Path) -> None:
    for folder in sorted(scenes.iterdir())[2:]:
        shutil.rmtree(folder)
    sentence = r"too few scenes.*: 2 of 3 \(astronaut, camera\).*Give test_data"
    with pytest.raises(SettingError, match=sentence):
        hold_back(opened(str(scenes)))
    with pytest.raises(SettingError, match=sentence):
        opened(f"promotion:{scenes}")
    with pytest.raises(SettingError, match=r"1 of 3 \(names of numbers only\)"):
        hold_back(opened(str(scenes / "camera")))


def test_broken_images_move_no_scene(scenes: Path) -> None:
    (held,) = hold_back(opened(str(scenes))).training
    broken = scenes / Path(held.pairs[0].name).parent
    for file in broken.glob("blur/*"):
        file.write_bytes(b"no image")
    ready, left_out = prepared(opened(str(scenes)), None, skip_bad=2)
    assert len(left_out) == 2
    assert [len(names_of(part)) for part in hold_back(ready)] == [6, 2, 2]
    assert names_of(hold_back(ready).promotion) == names_of(opened(f"promotion:{scenes}"))
    (held,) = hold_back(opened(str(scenes))).validation
    for file in (scenes / Path(held.pairs[0].name).parent).glob("blur/*"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="all pairs of a part are broken"):
        hold_back(prepared(opened(str(scenes)), None, skip_bad=4)[0])


def test_the_cache_changes_no_sample_and_no_fingerprint(pair_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    plain = opened(str(pair_folder), f"photos:{photo_folder}", "leaves")
    ready, left_out = prepared(plain, tmp_path / "cache", 0)
    assert not left_out
    assert fingerprint_of(ready) == fingerprint_of(plain)
    before, after = (mixture(sources, 32, seed=2) for sources in (plain, ready))
    for key in range(12):
        assert all(torch.equal(a, b) for a, b in zip(before[Key(key)][:2], after[Key(key)][:2], strict=True))


def test_broken_photos_are_left_out_up_to_a_limit(photo_folder: Path, tmp_path: Path) -> None:
    for path in sorted(photo_folder.glob("*.png"))[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / path.name
    broken.write_bytes(broken.read_bytes()[:2000])
    for cache in (None, tmp_path / "cache"):
        ready, left_out = prepared(opened(f"photos:{tmp_path}"), cache, skip_bad=1)
        assert [photo.name for photo in ready[0].photos] == sorted(p.name for p in tmp_path.glob("*.png"))[:3]
        assert broken.name in left_out[0]
    with pytest.raises(DataError, match="photos are broken"):
        prepared(opened(f"photos:{tmp_path}"), tmp_path / "cache", skip_bad=0)


def test_a_photo_that_is_too_small_is_enlarged(photos: dict[str, SharpPhoto], tmp_path: Path) -> None:
    Image.fromarray(photos["camera"].pixels[:40, :50]).save(tmp_path / "small.png")
    small = Photos([ImageFile("small.png", tmp_path / "small.png")], 0)
    assert small.cut(np.random.default_rng(0), 0, (100, 100)).shape == (100, 100, 3)
    assert Leaves().cut(np.random.default_rng(0), 0, (30, 40)).shape == (30, 40, 3)


def test_fingerprints_change_with_images_and_weights(pair_folder: Path, photo_folder: Path) -> None:
    texts = [str(pair_folder), f"photos:{photo_folder}", f"photos:{photo_folder}=2", "leaves"]
    assert len({fingerprint_of(opened(text)) for text in texts}) == 4


@pytest.mark.parametrize("ranges", [BlurRanges(), NOISE_ONLY])
def test_milder_samples_change_no_validation_set(photo_folder: Path, ranges: BlurRanges) -> None:
    sets = [
        validation_pairs(opened(f"photos:{photo_folder}"), 4, 0.5, replace(ranges, milder=share))[0]
        for share in (0.0, 1.0)
    ]
    assert fingerprint(sets[0]) == fingerprint(sets[1])
