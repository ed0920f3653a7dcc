"""Write weights that exist already as a model folder: to copy, to serve, to ship with a package."""

from collections.abc import Sequence
from pathlib import Path

from deblur import project
from deblur.data.sources import open_sources, validation_pairs
from deblur.evaluation.scores import Benchmark, Scores
from deblur.export.onnx import export_model, verify_model
from deblur.inference.restorer import Restorer
from deblur.models.engine import TorchEngine
from deblur.synthesis.degrade import SEVERITIES, Recipe
from deblur.training.checkpoint import network_from
from deblur.training.config import presets


def export_weights(
    source: Path, folder: Path, name: str, test_data: Sequence[str] = (), half: bool = False
) -> Scores | None:
    """Export and, where there are pairs, verify; returns the scores of the written file.

    Args:
        source: a checkpoint, the output folder of a training, or a model folder.
        folder: where ``model.onnx`` and ``model.json`` go.
        name: what the model is called.
        test_data: sources of validation pairs.
        half: keep the weights in float16.

    Raises:
        ModelError: no weights there.
        RegistrationError: the written file scores otherwise than the weights did.
    """
    network = network_from(source)
    defaults = presets()["fast" if network.receptive_px else "published"]
    tiling = defaults.tiling(network)
    pairs = validation_pairs(open_sources(test_data), None, SEVERITIES["medium"], Recipe()) if test_data else []
    benchmark = Benchmark(pairs)
    scored = benchmark.score(Restorer(TorchEngine(network), tiling)) if pairs else None
    export_model(network, folder, name=name, tiling=tiling, git_commit=project.git_state()[0], half=half)
    return verify_model(folder, benchmark, scored.mean("psnr_db")) if scored else None
