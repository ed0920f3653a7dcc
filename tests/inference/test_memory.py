"""Peak memory follows the tile, not the photo: 8 bytes a pixel for the photo itself, and no more."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur import image_limits
from deblur.errors import PhotoTooLarge
from deblur.files import sha256_of
from deblur.image_limits import OWN_FILES
from deblur.images import Photo, decode, encode
from deblur.images import megapixels as megapixels_of
from deblur.inference.model_folder import Golden, ModelInfo, write_info
from tests.kinds import tiff16

onnx = pytest.importorskip("onnx")
DIM = 0.98


@pytest.fixture(scope="module")
def dimming_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose network takes no time: it dims all by a fiftieth, which no guard takes for broken."""
    folder = tmp_path_factory.mktemp("dimming")
    shape = ["B", 3, "h", "w"]
    tensors = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in ("blurry", "restored")]
    dim = onnx.helper.make_tensor("dim", onnx.TensorProto.FLOAT, [1], [DIM])
    node = onnx.helper.make_node("Mul", ["blurry", "dim"], ["restored"])
    graph = onnx.helper.make_graph([node], "dimming", tensors[:1], tensors[1:], [dim])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10),
        folder / "model.onnx",
    )
    means = np.random.default_rng(1).random((1, 3, 16, 16), dtype=np.float32).mean(axis=(2, 3)).ravel() * DIM
    golden = Golden(1, 16, [float(v) for v in means])
    sha256 = sha256_of(folder / "model.onnx")
    write_info(
        folder,
        ModelInfo(
            "dimming", None, None, sha256, "f32", 16, 16, None, 0, False, 512, 64, None, None, {"name": ""}, golden
        ),
    )
    return folder


def peak_mb(way: str, folder: Path, photo: Path) -> float:
    command = [sys.executable, "-m", "deblur.benchmarks.one_photo", way, str(folder), str(photo), str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["peak_mb"])


def saved(folder: Path, megapixels: int, suffix: str, mode: str, options: dict[str, object]) -> Path:
    """A square photo of coarse noise."""
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 160, 4), dtype=np.uint8))
    side_px, photo = int((megapixels * 1e6) ** 0.5), folder / f"{megapixels}{suffix}"
    coarse.resize((side_px, side_px)).convert(mode).save(photo, **options)
    return photo


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF in planes"])
def test_16_bits_take_20_bytes_a_pixel(dimming_model: Path, tmp_path: Path, kind: str) -> None:
    """Though the file itself, of noise that nothing packs, takes six of them."""
    peaks_mb = {}
    for megapixels in (1, 5):
        side_px = int((megapixels * 1e6) ** 0.5)
        rgb = np.random.default_rng(0).integers(0, 65_536, (side_px, side_px, 3), dtype=np.uint16)
        image_format = kind.partition(" ")[0]
        photo = tmp_path / f"{megapixels}.{image_format.lower()}"
        if kind == "TIFF in planes":
            photo.write_bytes(tiff16(np.moveaxis(rgb, 2, 0), planarconfig="separate"))
        else:
            photo.write_bytes(encode(Photo(rgb, image_format, packing="raw")))
        peaks_mb[megapixels] = peak_mb("ours, ONNX Runtime f32", dimming_model, photo)
    assert peaks_mb[5] <= 20 * 5 + peaks_mb[1]
    restored = decode(photo.with_suffix(".restored").read_bytes())
    assert ((restored.rgb <= rgb) & (restored.rgb >= rgb * DIM - 1)).all(), "restored, as far as the guard lets it"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
@pytest.mark.parametrize(
    ("suffix", "mode", "options", "large", "bytes_a_pixel"),
    [
        (".png", "RGBA", {"compress_level": 1}, 9, 8),
        (".png", "LA", {"compress_level": 1}, 9, 8),
        (".tiff", "RGBA", {}, 9, 8),  # the file itself is as large as its pixels
        (".jpg", "CMYK", {}, 9, 8),
        (".jpg", "RGB", {"progressive": True, "subsampling": 0}, 9, 10),
        (".jpg", "CMYK", {"progressive": True}, 9, 12),
        (".avif", "RGB", {"speed": 10}, 3, 12),
        (".webp", "RGB", {}, 3, 18),
        (".webp", "RGBA", {"lossless": True}, 2, 40),
    ],
    ids=str,
)
def test_what_each_kind_takes(
    dimming_model: Path,
    tmp_path: Path,
    suffix: str,
    mode: str,
    options: dict[str, object],
    large: int,
    bytes_a_pixel: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As documentation/photos.md has it; where so much is not available, the photo is refused from its header."""
    peaks_mb = {}
    for megapixels in (1, large):
        photo = saved(tmp_path, megapixels, suffix, mode, options)
        peaks_mb[megapixels] = peak_mb("ours, ONNX Runtime f32", dimming_model, photo)
    assert peaks_mb[large] <= bytes_a_pixel * large + peaks_mb[1]
    monkeypatch.setattr(image_limits, "available_memory", lambda: 0.99e6 * bytes_a_pixel * large)
    with pytest.raises(PhotoTooLarge, match="memory"):
        megapixels_of(photo.read_bytes(), OWN_FILES)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
@pytest.mark.parametrize(("suffix", "large"), [(".jpg", 100), (".png", 50)])
def test_a_hundred_megapixels_take_8_bytes_a_pixel_more_than_one(
    dimming_model: Path, tmp_path: Path, suffix: str, large: int
) -> None:
    """In a process of its own, decoding and encoding included; of the slower PNG half as many show it."""
    peaks_mb, options = {}, {"compress_level": 1} if suffix == ".png" else {}
    for megapixels in (1, large):
        photo = saved(tmp_path, megapixels, suffix, "RGB", options)
        peaks_mb[megapixels] = peak_mb("ours, ONNX Runtime f32", dimming_model, photo)
    assert peaks_mb[large] <= 8 * large + peaks_mb[1] + 32
    restored, blurry = ((tmp_path / f"1{end}").open("rb") for end in (".restored", suffix))
    with restored, blurry:
        dimmed, whole = (np.asarray(Image.open(file), np.float32).mean() for file in (restored, blurry))
    assert DIM * whole - 0.5 < dimmed < whole - 0.2, "it was restored"
