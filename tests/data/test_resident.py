"""Pixels on the device: the same samples as the loaders', whatever is mixed, from any step; sizes that are told."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblur.data import resident
from deblur.data.batches import Batch, Loaded, UnblurredBatch, collate
from deblur.data.blurred import Unblurred
from deblur.data.cache import cached_photos
from deblur.data.crops import Key, Placed, RunOrder
from deblur.data.loading import Feed, feed_of
from deblur.data.photos import SharpPhoto
from deblur.data.resident import Resident
from deblur.data.sources import Mixture, Part, find_photos, mixture, open_sources
from deblur.errors import SettingError
from deblur.images import Rgb8
from deblur.synthesis.draw import BlurRanges

CPU, CROP_PX = torch.device("cpu"), 64
QUIET = BlurRanges(noise_share=0)
"""Noise has other draws on a device."""


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, SharpPhoto]) -> Path:
    """One is smaller than a crop with its margins, and is enlarged."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(photos[name].pixels).save(folder / f"{name}.png")
    Image.fromarray(photos["rocket"].pixels[:100, :150]).save(folder / "small.png")
    return folder


def samples_of(*texts: str, ranges: BlurRanges = QUIET, on_device: bool = True) -> "Part | Mixture":
    return mixture(open_sources(texts), CROP_PX, 3, ranges, on_device)


def feed(samples: "Part | Mixture", workers: int = 0) -> Feed:
    held, order = Resident(samples, CPU), RunOrder(24, 8)
    return feed_of(samples, order, accumulate=1, workers=workers, pin_memory=False, resident=held)


def by_key(batch: Batch) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    assert batch.keys is not None
    return {int(key): (255 * batch.blurry[i], 255 * batch.sharp[i]) for i, key in enumerate(batch.keys)}


def test_pairs_are_the_same_to_the_bit(pair_folder: Path) -> None:
    samples = samples_of(str(pair_folder))
    for number, batch in enumerate(feed(samples).batches()):
        keys = [Key(8 * number + i) for i in range(8)]
        expected = collate([samples[key] for key in keys]).on(CPU)
        here = batch.on(CPU)
        assert torch.equal(here.blurry, expected.blurry)
        assert torch.equal(here.sharp, expected.sharp)
        assert torch.equal(torch.as_tensor(here.keys), torch.as_tensor(keys))


def test_what_the_cpu_blurs_is_blurred_as_loaders_do_it(photo_folder: Path) -> None:
    """To the bit, with noise, where none is too small: torch's blur of batches is for GPUs, and takes longer here."""
    samples = samples_of(f"photos:{photo_folder}", ranges=BlurRanges(), on_device=False)
    found = {key: sides for batch in feed(samples).batches() for key, sides in by_key(batch.on(CPU)).items()}
    expected = by_key(collate([samples[Key(key)] for key in range(24)]).on(CPU))
    differ = {samples.name_of(key) for key in range(24) if not all(map(torch.equal, found[key], expected[key]))}
    assert differ <= {"small.png"}


def sources_of(batch: Loaded) -> dict[int, Rgb8]:
    """The sharp sources that the device is to blur, by key, a few of them in a batch inside a batch."""
    found: dict[int, Rgb8] = {}
    inner: Loaded | None = batch
    while isinstance(inner, UnblurredBatch):
        assert inner.sources is not None
        found |= dict(zip(inner.keys.tolist(), inner.sources.numpy(), strict=True))
        inner = inner.ready
    return found


def test_photos_are_cut_zoomed_and_turned_alike(photo_folder: Path) -> None:
    """To the bit where nothing is scaled, to two codes where it is."""
    samples = samples_of(f"photos:{photo_folder}")
    scaled = 0
    for step in range(3):
        found = sources_of(next(itertools.islice(feed(samples).batches(), step, None)))
        for key in (Key(8 * step + i) for i in range(8)):
            drawn, wanted, source = (
                samples.placed(key, dict.fromkeys(samples.images, (400, 400, 3))),
                samples[key],
                found[key],
            )
            assert isinstance(drawn, Placed)
            assert isinstance(wanted, Unblurred)
            may_differ = drawn.zoom != 1 or samples.name_of(key) == "small.png"
            scaled += may_differ
            difference = np.abs(source.astype(int) - wanted.source)
            assert difference.max() <= (2 if may_differ else 0)
            assert difference.mean() < 0.02
    assert 0 < scaled < 24


def test_a_mixture_with_what_no_device_holds(pair_folder: Path, photo_folder: Path) -> None:
    samples = samples_of(str(pair_folder), f"photos:{photo_folder}=2", "leaves")
    fed = feed(samples, workers=1)
    batches = list(fed.batches())
    expected = by_key(collate([samples[Key(key)] for key in range(24)]).on(CPU))
    found = {key: sides for batch in batches for key, sides in by_key(batch.on(CPU)).items()}
    assert sorted(found) == list(range(24))
    assert {fed.names_of(0)[i] for i in range(8)} == {samples.name_of(key) for key in range(8)}
    for key, sides in found.items():
        assert all((a - b).abs().mean() < 0.5 for a, b in zip(sides, expected[key], strict=True))


def test_an_epoch_that_is_gone_on_with_has_the_same_bits(photo_folder: Path) -> None:
    fed = feed(samples_of(f"photos:{photo_folder}", ranges=BlurRanges()))
    whole = [batch.on(CPU) for batch in fed.batches()]
    fed.order.start(0, first_step=2)
    (last,) = [batch.on(CPU) for batch in fed.batches()]
    assert torch.equal(last.blurry, whole[2].blurry)
    assert torch.equal(last.sharp, whole[2].sharp)


def test_what_does_not_fit_is_told_with_its_size(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, _ = cached_photos(find_photos(photo_folder), tmp_path / "cache")
    monkeypatch.setattr(resident, "available_memory", lambda: 2e6)
    samples = samples_of(f"photos:{photo_folder}")
    with pytest.raises(SettingError, match=r"4 images take 0\.00 GB decoded, and cpu has 0\.00 GB free.*60%.*cache"):
        Resident(samples, CPU)
    monkeypatch.undo()
    assert {tuple(shape) for shape in Resident(samples, CPU).shapes.values()} == {p.load().shape for p in photos}


def test_a_gpu_is_asked_after_what_an_earlier_run_left_is_given_back(
    photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of a sweep follow each other in one process; torch keeps the memory of the one before."""
    free = [1e3]
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: free.append(1e9))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[-1], 1e9))
    Resident(samples_of(f"photos:{photo_folder}"), torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    free.append(1e3)
    with pytest.raises(SettingError, match=r"cuda has 0\.00 GB free"):
        Resident(samples_of(f"photos:{photo_folder}"), torch.device("cuda"))
