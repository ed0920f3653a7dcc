"""OpenVINO's own form of a model, its IR: ``model.xml`` and ``model.bin``, for programs that take no ONNX file."""

from pathlib import Path
from tempfile import TemporaryDirectory

from deblur.errors import ModelError
from deblur.files import replace
from deblur.inference.model_folder import IR_FILES, ONNX_FILE, open_model
from deblur.inference.openvino import OpenVinoEngine, core


def write_ir(folder: Path) -> None:
    """Write the IR of a model folder's ``model.onnx`` beside it, and prove it on the golden input.

    Weights stay as wide as they are there: in float32, or in float16 after ``half``. Sizes stay open.

    Args:
        folder: a model folder.

    Raises:
        ModelError: it is none, OpenVINO cannot write its IR, or the IR computes something else.
    """
    network = core().read_model(folder / ONNX_FILE)
    import openvino

    with TemporaryDirectory(dir=folder) as scratch:
        xml, weights = (Path(scratch) / name for name in IR_FILES)
        try:
            openvino.save_model(network, xml, compress_to_fp16=False)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot write {folder / xml.name} (is there room?): {error}") from error
        open_model(folder, lambda onnx: OpenVinoEngine(core().read_model(xml), "f32"))
        for file in (weights, xml):
            replace(file, folder / file.name)
