"""The doctor: good sets pass, and of sets broken on purpose each fault is found, as itself and nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.signal import oaconvolve

from deblur.data.doctor import Report, examine, examine_folder
from deblur.data.doctor.files import look_at_all
from deblur.data.doctor.listing import Item
from deblur.data.doctor.registration import offset_of
from deblur.data.doctor.splits import near_duplicates, sequence_and_frame
from deblur.data.frames import find_frames
from deblur.data.pairs import PairPixels, find_pairs
from deblur.data.photos import SharpPhoto
from deblur.data.sources import find_photos
from deblur.errors import DataError
from deblur.images import from_rgb8, to_rgb8
from deblur.synthesis.kernels import recentred, shake_kernel
from deblur.synthesis.light import to_linear
from deblur.synthesis.uniform import blur
from tests.conftest import SHARED
from tests.kinds import png16

NAMES = ("astronaut", "coffee", "chelsea", "china", "rocket", "grace_hopper")
HEIGHT, WIDTH = 280, 400


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """Six pairs of one size, blurred in linear light."""
    folder = tmp_path_factory.mktemp("good")
    for kind in ("blur", "sharp"):
        (folder / kind).mkdir()
    for i, name in enumerate(NAMES):
        pair = shaken(photos[name], np.random.default_rng(i), 9.0)
        save(folder / "blur" / f"{name}.png", pair.blurry[:HEIGHT, :WIDTH])
        save(folder / "sharp" / f"{name}.png", pair.sharp[:HEIGHT, :WIDTH])
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(good, tmp_path / "set"))


def shaken(photo: SharpPhoto, rng: np.random.Generator, extent_px: float) -> PairPixels:
    """A pair whose blur has its centre of mass in the middle, so that its only shift is the one a test makes."""
    kernel = recentred(shake_kernel(rng, extent_px))
    margin = len(kernel) // 2
    blurry = to_rgb8(blur(from_rgb8(photo.pixels), kernel))
    return PairPixels(photo.name, blurry, photo.pixels[margin:-margin, margin:-margin])


def save(path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(path, compress_level=1)


def load(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def both(folder: Path, name: str = "coffee.png") -> tuple[Path, Path]:
    return folder / "blur" / name, folder / "sharp" / name


def kinds(report: Report, *severities: str) -> set[str]:
    return {finding.kind for finding in report.findings if finding.severity in severities}


def test_a_good_set_is_good(good: Path) -> None:
    report = examine_folder(good, patch_px=256)
    assert kinds(report, "error", "warning") == set()
    assert kinds(report, "note") - {"off_middle"} == {"light"}
    assert "linear light" in report.findings[0].text
    assert len(report.measures) == len(NAMES)


def remove_sharp(folder: Path) -> None:
    both(folder)[1].unlink()


def no_image(folder: Path) -> None:
    both(folder)[0].write_bytes(b"this is a text")


def empty(folder: Path) -> None:
    both(folder)[0].write_bytes(b"")


def cut(folder: Path) -> None:
    path = both(folder)[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def sixteen_bits(folder: Path) -> None:
    """A 48-bit PNG, which Pillow reads as 8 bits without a word."""
    path = both(folder)[0]
    path.write_bytes(png16(load(path).astype(np.uint16) * 257, 2))


def another_size(folder: Path) -> None:
    path = both(folder)[1]
    Image.open(path).resize((WIDTH // 2, HEIGHT // 2)).save(path)


def one_grey(folder: Path) -> None:
    path = both(folder)[1]
    Image.open(path).convert("L").save(path)


def animated(folder: Path) -> None:
    path = both(folder)[1]
    frames = [Image.fromarray(load(both(folder)[i])) for i in (0, 1)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def lab(folder: Path) -> None:
    """In a name that says PNG, so that it has its partner."""
    path = both(folder)[1]
    Image.new("LAB", (WIDTH, HEIGHT)).save(path, "TIFF")


def same_image(folder: Path) -> None:
    shutil.copy(*both(folder))


def exchanged(folder: Path) -> None:
    (folder / "blur").rename(folder / "x")
    (folder / "sharp").rename(folder / "blur")
    (folder / "x").rename(folder / "sharp")


def wrong_partner(folder: Path) -> None:
    shutil.copy(folder / "sharp" / "china.png", folder / "china.png")
    shutil.copy(folder / "sharp" / "coffee.png", folder / "sharp" / "china.png")
    shutil.move(folder / "china.png", folder / "sharp" / "coffee.png")


def shift(folder: Path, x: int, y: int, names: tuple[str, ...] = ("coffee.png",)) -> None:
    for name in names:
        for path, top, left in ((both(folder, name)[0], 0, 0), (both(folder, name)[1], y, x)):
            save(path, load(path)[top : HEIGHT - 12 + top, left : WIDTH - 12 + left])


def one_shifted(folder: Path) -> None:
    shift(folder, 8, 0)


def all_shifted(folder: Path) -> None:
    shift(folder, 0, 4, tuple(f"{name}.png" for name in NAMES))


def enlarged(folder: Path) -> None:
    path = both(folder)[1]
    box = (0.015 * WIDTH, 0.015 * HEIGHT, 0.985 * WIDTH, 0.985 * HEIGHT)
    Image.open(path).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box).save(path)


def linear_sharp(folder: Path) -> None:
    path = both(folder)[1]
    save(path, to_rgb8(to_linear(from_rgb8(load(path)))))


def grey_pixels(folder: Path) -> None:
    """Grey, but stored as RGB: no header tells."""
    path = both(folder)[0]
    Image.open(path).convert("L").convert("RGB").save(path)


def red_and_blue_exchanged(folder: Path) -> None:
    path = both(folder)[1]
    save(path, load(path)[..., ::-1])


def all_exchanged(folder: Path) -> None:
    path = both(folder)[0]
    save(path, load(path)[..., [1, 2, 0]])


def warmer(folder: Path) -> None:
    path = both(folder)[0]
    save(path, np.clip(load(path) * np.array([1.0, 0.9, 0.7]), 0, 255).astype(np.uint8))


def one_row(folder: Path) -> None:
    for path in both(folder):
        save(path, load(path)[:1, :300])


@pytest.mark.parametrize(
    ("break_it", "kind"),
    [
        (remove_sharp, "unpaired"),
        (no_image, "unreadable"),
        (empty, "unreadable"),
        (cut, "truncated"),
        (sixteen_bits, "bit_depth"),
        (animated, "unsupported"),
        (lab, "unsupported"),
        (another_size, "size"),
        (one_grey, "channels"),
        (same_image, "identical"),
        (exchanged, "swapped"),
        (wrong_partner, "different_picture"),
        (one_shifted, "misaligned"),
        (all_shifted, "misaligned"),
        (enlarged, "scale"),
        (linear_sharp, "tone_curve"),
        (grey_pixels, "colours"),
        (red_and_blue_exchanged, "colours"),
        (all_exchanged, "colours"),
        (warmer, "colours"),
        (one_row, "too_small"),
    ],
)
def test_a_fault_is_found_as_itself(folder: Path, break_it: Callable[[Path], None], kind: str) -> None:
    break_it(folder)
    report = examine_folder(folder)
    assert kinds(report, "error") == {kind}
    broken = {Path(file).stem for finding in report.errors for file in finding.files}
    assert "coffee" in broken
    assert all(finding.measure is None or finding.threshold is not None for finding in report.findings)


QUICKLY_FOUND = [remove_sharp, no_image, empty, cut, sixteen_bits, another_size, one_grey, same_image, exchanged]


@pytest.mark.parametrize("break_it", QUICKLY_FOUND)
def test_the_quick_form_sees_it_too(folder: Path, break_it: Callable[[Path], None]) -> None:
    break_it(folder)
    assert examine_folder(folder, quick=True).errors


def test_what_training_found_can_be_examined(folder: Path) -> None:
    pairs = find_pairs(folder)
    assert examine(pairs, quick=True).errors == []
    small = examine(pairs, patch_px=300, quick=True)
    assert kinds(small, "error") == {"too_small"}
    assert len(small.errors) == len(pairs)
    assert examine(pairs, validation=pairs, patch_px=200, quick=True).errors[0].kind == "leak_same_file"


def test_less_than_errors_are_warnings(folder: Path) -> None:
    shift(folder, 4, 0)
    rgb = load(folder / "blur" / "china.png")
    save(folder / "blur" / "china.png", np.clip(rgb.astype(int) + 20, 0, 255).astype(np.uint8))
    Image.open(folder / "sharp" / "chelsea.png").quantize(255).save(folder / "sharp" / "chelsea.png")
    hole = Image.open(folder / "blur" / "rocket.png").convert("RGBA")
    hole.putpixel((3, 3), (0, 0, 0, 0))
    hole.save(folder / "blur" / "rocket.png")
    for kind in ("blur", "sharp"):
        shutil.copy(folder / kind / "astronaut.png", folder / kind / "again.png")
    report = examine_folder(folder)
    assert report.errors == []
    assert kinds(report, "warning") == {"misaligned", "brightness", "channels", "duplicate"}


@pytest.mark.parametrize("size", [(1, 1), (300, 1), (5000, 3), (3, 5000), (12, 12), (5000, 13)])
@pytest.mark.parametrize("patch_px", [None, 64])
def test_tiny_and_thin_images_are_a_finding(folder: Path, size: tuple[int, int], patch_px: int | None) -> None:
    """On both sides, as pairs and as photos: 11 px are the least that can be scored, whatever the crop."""
    rng = np.random.default_rng(0)
    for path in both(folder, "tiny.png"):
        save(path, rng.integers(0, 256, (*size[::-1], 3), np.uint8))
    report = examine_folder(folder, folder, patch_px)
    tiny = min(size) < 11
    told = [f for f in report.findings if f.kind == "too_small" and Path(f.files[0]).name == "tiny.png"]
    assert [f.severity for f in told] == (["error", "error"] if tiny else ["error"] if patch_px else ["note"])
    photos = examine_folder(folder / "sharp", patch_px=patch_px)
    told = [f for f in photos.findings if f.kind == "too_small" and Path(f.files[0]).name == "tiny.png"]
    assert [f.severity for f in told] == ["warning" if patch_px else "note"]
    assert photos.errors == []


def test_another_white_balance_is_a_warning_while_it_is_weak(folder: Path) -> None:
    path = both(folder)[0]
    save(path, np.clip(load(path) * np.array([1.0, 0.97, 0.91]), 0, 255).astype(np.uint8))
    report = examine_folder(folder)
    assert report.errors == []
    (told,) = report.of("warning")
    assert told.kind == "colours"
    assert "another white balance: red, green and blue times 1.0" in told.text


@pytest.mark.parametrize("quick", [False, True])
def test_what_cannot_become_better_is_told_and_no_error(folder: Path, tmp_path: Path, quick: bool) -> None:
    """Black on both sides; nearly the same, as another encoder leaves it; motionless frames; a photo of nothing."""
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for path in both(folder, "coffee.png"):
        save(path, black)
    nearly = load(both(folder, "astronaut.png")[1]).copy()
    nearly[0, 0] ^= 1
    save(both(folder, "astronaut.png")[0], nearly)
    for sequence, step in (("still", 0), ("moving", 1)):
        (tmp_path / sequence).mkdir()
        for number in range(3):
            save(tmp_path / sequence / f"{number}.png", load(both(folder, "china.png")[1])[number * step :][:200])
    (tmp_path / "photos").mkdir()
    save(tmp_path / "photos" / "sky.png", black + 200)
    frames = [*find_frames(tmp_path / "still", 3), *find_frames(tmp_path / "moving", 3)]
    for items, names in (
        (find_pairs(folder), {"astronaut.png", "coffee.png"}),
        (frames, {"1.png"}),
        (find_photos(tmp_path / "photos"), {"sky.png"}),
    ):
        report = examine(items, quick=quick)
        assert report.errors == []
        told = [finding for finding in report.findings if finding.kind == "nothing_to_gain"]
        assert {Path(file).name for finding in told for file in finding.files} == names
        assert len(told) == len(names)


def test_frames_averaged_in_two_ways_are_told_apart(folder: Path) -> None:
    for i, name in enumerate(("coffee.png", "china.png", "rocket.png", "astronaut.png")):
        kernel = shake_kernel(np.random.default_rng(i), 9.0)
        blurry, sharp = both(folder, name)
        encoded = oaconvolve(from_rgb8(load(sharp)), kernel[..., None], mode="valid", axes=(0, 1))
        margin = kernel.shape[0] // 2
        save(blurry, to_rgb8(encoded))
        save(sharp, load(sharp)[margin:-margin, margin:-margin])
    report = examine_folder(folder)
    assert kinds(report, "error", "warning") == set()
    assert kinds(report, "note") - {"too_small", "off_middle"} == {"mixed_light"}


def test_a_jpeg_that_lost_data_but_not_its_end_marker(photos: dict[str, SharpPhoto], tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(photos["coffee"].pixels).save(path, quality=90)
    whole = path.read_bytes()
    assert look_at_all(path)[0].trouble is None
    path.write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    look, rgb = look_at_all(path)
    assert rgb is None
    assert look.trouble is not None
    assert look.trouble.kind == "truncated"


def test_photos_are_examined_too(tmp_path: Path, photos: dict[str, SharpPhoto]) -> None:
    for name in ("astronaut", "china", "camera"):
        save(tmp_path / f"{name}.png", photos[name].pixels)
    assert kinds(examine_folder(tmp_path), "error", "warning", "note") == set()
    save(tmp_path / "copy.png", photos["china"].pixels)
    Image.fromarray(photos["astronaut"].pixels).resize((300, 300)).save(tmp_path / "small.jpg", quality=70)
    Image.fromarray(photos["camera"].pixels).convert("L").save(tmp_path / "camera.png")
    (tmp_path / "raw.dng").write_bytes(b"raw")
    report = examine_folder(tmp_path, patch_px=320)
    assert report.errors == []
    assert kinds(report, "warning") == {"duplicate", "too_small"}
    assert kinds(report, "note") == {"near_duplicate", "channels", "not_read"}
    assert kinds(examine_folder(tmp_path, patch_px=900), "error") == set(), "photos are enlarged"


def test_each_of_many_alike_photos_is_told_once() -> None:
    """As the frames of a time-lapse; copies by content are another finding."""
    items = [Item(f"{i}", (Path(f"{i}.png"),)) for i in range(600)]
    pictures = {item.sharp: np.ones(512, np.int8) for item in items} | {items[-1].sharp: -np.ones(512, np.int8)}
    found = near_duplicates(items, {}, pictures)
    assert [finding.files for finding in found] == [("0.png", f"{i}.png") for i in range(1, 599)]
    assert len(near_duplicates(items, {items[0].sharp: "same", items[7].sharp: "same"}, pictures)) == 597


def test_leaks_between_training_and_validation(good: Path, tmp_path: Path, photos: dict[str, SharpPhoto]) -> None:
    """The same bytes; the same picture at another quality; two frames of one sequence that moved on by 6 px."""
    train, validation = Path(shutil.copytree(good, tmp_path / "train")), tmp_path / "val"
    for kind in ("blur", "sharp"):
        (validation / kind).mkdir(parents=True)
        shutil.copy(train / kind / "china.png", validation / kind / "other.png")
        Image.open(train / kind / "coffee.png").save(validation / kind / "tasse.jpg", quality=60)
        for where, number, left in ((train, 12, 0), (validation, 13, 6)):
            moved = photos["motorcycle_left"].pixels[:300, left : left + 400]
            pair = shaken(SharpPhoto("m", moved), np.random.default_rng(number), 6.0)
            save(where / kind / f"GOPR0001_01-{number:06}.png", pair.blurry if kind == "blur" else pair.sharp)
    report = examine_folder(train, validation)
    found = {finding.kind: {Path(file).name for file in finding.files} for finding in report.errors}
    assert found == {
        "leak_same_file": {"other.png", "china.png"},
        "leak_scene": {"tasse.jpg", "coffee.png"},
        "leak_sequence": {"GOPR0001_01-000012.png", "GOPR0001_01-000013.png"},
    }
    assert kinds(examine_folder(train, validation, quick=True), "error") >= {"leak_same_file", "leak_sequence"}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("GOPR0372_07_00/000047.png", ("GOPR0372_07_00", 47)),
        ("GOPR0374_11_00-f000614-avg8.webp", ("GOPR0374_11_00", 614)),
        ("test_000-00000013.png", ("test_000", 13)),
        ("000/00000013.png", ("000", 13)),
        ("00000013.png", None),
        ("IMG_0012.jpg", None),
        ("astronaut.png", None),
    ],
)
def test_what_names_say(name: str, place: tuple[str, int] | None) -> None:
    assert sequence_and_frame(name) == place


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=st.integers(-12, 12), y=st.integers(-12, 12), seed=st.integers(0, 99))
def test_the_estimated_shift_follows_the_true_one(photos: dict[str, SharpPhoto], x: int, y: int, seed: int) -> None:
    pair = shaken(SharpPhoto("china", photos["china"].pixels[:300, :400]), np.random.default_rng(seed), 12.0)
    height, width = pair.sharp.shape[:2]
    windows = [image[12 + dy : height - 12 + dy, 12 + dx : width - 12 + dx] for image, dy, dx in (
        (pair.blurry, 0, 0), (pair.blurry, -y, -x), (pair.sharp, 0, 0))]  # fmt: skip
    still, moved, sharp = (Image.fromarray(np.ascontiguousarray(w)).convert("L").convert("F") for w in windows)
    before, after = offset_of(still, sharp), offset_of(moved, sharp)
    assert after.x_px - before.x_px == pytest.approx(x, abs=0.5)
    assert after.y_px - before.y_px == pytest.approx(y, abs=0.5)
    assert before.length_px < 2


def test_a_shift_against_the_blurs_own_is_found_all_the_same(tmp_path: Path, photos: dict[str, SharpPhoto]) -> None:
    """The mean of ten noisy frames that move on a pixel each; the third is sharp: the blur's centre is 2.5 px off."""
    rng, rgb = np.random.default_rng(0), photos["coffee"].pixels
    frames = [rgb[:, 20 - x : 420 - x] + rng.normal(0, 6, (*rgb.shape[:1], 400, 3)) for x in range(-2, 8)]
    blurry, sharp = (np.clip(image.round(), 0, 255).astype(np.uint8) for image in (np.mean(frames, axis=0), frames[2]))
    for shift_px, errors in ((0, set()), (6, {"misaligned"})):
        folder = tmp_path / str(shift_px)
        for kind, image in (("blur", blurry[:, shift_px:]), ("sharp", sharp[:, : 400 - shift_px])):
            (folder / kind).mkdir(parents=True)
            save(folder / kind / "cup.png", image)
        report = examine_folder(folder)
        assert report.measures[0].shift_px == pytest.approx(abs(2.5 - shift_px), abs=0.4)
        assert kinds(report, "error") == errors
        assert kinds(report, "warning") == set()


def test_no_texture_no_claim(tmp_path: Path) -> None:
    for kind in ("blur", "sharp"):
        (tmp_path / kind).mkdir()
        noise = np.random.default_rng(len(kind)).normal(120, 1.5, (HEIGHT, WIDTH, 3))
        save(tmp_path / kind / "wall.png", noise.round().astype(np.uint8))
    assert examine_folder(tmp_path).errors == []


def test_the_layout_of_gopro(good: Path, tmp_path: Path) -> None:
    for sequence in ("GOPR0001", "GOPR0002"):
        shutil.copytree(good, tmp_path / sequence)
    (tmp_path / "GOPR0002" / "sharp" / "china.png").unlink()
    report = examine_folder(tmp_path, quick=True)
    assert [finding.kind for finding in report.errors] == ["unpaired"]
    assert kinds(report, "warning") == {"duplicate"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither pairs"):
        examine_folder(tmp_path / "empty")
    with pytest.raises(DataError, match="is not a folder"):
        examine_folder(tmp_path / "nowhere")


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not beside this clone")
def test_real_pairs_are_good() -> None:
    pairs = SHARED / "pairs"
    assert kinds(examine_folder(pairs / "reds320" / "val"), "error", "warning") == set()
    report = examine_folder(pairs / "gopro" / "train", pairs / "gopro" / "val", patch_px=256, quick=True)
    assert kinds(report, "error", "warning") == set()
    assert report.looked_at["headers"] == sum(len(find_pairs(pairs / "gopro" / side)) for side in ("train", "val"))


@pytest.mark.parametrize(("frames", "pairs", "told"), [(9, 6, ""), (8, 6, "in 5 of 6 pairs"), (8, 3, "too few")])
def test_a_sharp_frame_that_is_not_in_the_middle_is_told(
    tmp_path: Path, photos: dict[str, SharpPhoto], frames: int, pairs: int, told: str
) -> None:
    """Means of frames that move on by 2.5 to 4 px to all sides; of eight, the fifth is half a frame late."""
    rng = np.random.default_rng(0)
    for kind in ("blur", "sharp"):
        (tmp_path / kind).mkdir()
    for name in NAMES[:pairs]:
        rgb, angle = photos[name].pixels, rng.uniform(0, 2 * np.pi)
        step = rng.uniform(2.5, 4) * np.array([np.sin(angle), np.cos(angle)])
        places = [(18 + step * (i - frames // 2)).round().astype(int) for i in range(frames)]
        seen = [rgb[y : y + 260, x : x + 400] for y, x in places]
        save(tmp_path / "blur" / f"{name}.png", np.mean(seen, axis=0).round().astype(np.uint8))
        save(tmp_path / "sharp" / f"{name}.png", seen[frames // 2])
    found = [finding.text for finding in examine_folder(tmp_path).findings if finding.kind == "off_middle"]
    assert len(found) == bool(told)
    assert all(told in text for text in found)


@pytest.mark.skipif(not SHARED.is_dir(), reason="real pairs are not here (../shared)")
def test_the_frames_of_gopro_val_are_half_a_frame_late_and_those_of_reds_are_not() -> None:
    found = {name: kinds(examine_folder(SHARED / "pairs" / name), "note") for name in ("gopro/val", "reds/val")}
    assert "off_middle" in found["gopro/val"]
    assert "off_middle" not in found["reds/val"]
