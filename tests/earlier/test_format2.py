"""A model folder of format 2 still opens; it knows no interval of its gain."""

import tarfile
from pathlib import Path

import numpy as np

from deblur.inference.model_folder import FORMAT, open_model, read_info, write_info


def test_it_opens_and_is_written_as_today(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parent / "format2.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert '"format": 2' in (tmp_path / "model" / "model.json").read_text()
    model, pixels = open_model(tmp_path / "model"), np.random.default_rng(0).random((70, 90, 3), dtype=np.float32)
    assert (model.info.format, model.info.gain_db, model.info.scored_on) == (FORMAT, None, None)
    assert model.info.psnr_db is not None
    assert not np.array_equal(model.restorer(pixels), pixels)
    write_info(tmp_path / "model", model.info)
    assert f'"format": {FORMAT}' in (tmp_path / "model" / "model.json").read_text()
    assert read_info(tmp_path / "model") == model.info
