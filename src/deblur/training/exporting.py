"""Write weights that exist already as a model folder: to copy, to serve, to ship with a package."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deblur import project
from deblur.data.sources import Reading, open_sources, validation_pairs
from deblur.evaluation.scores import Benchmark, Scores
from deblur.export.onnx import export_model, verify_model
from deblur.inference.model_folder import read_info
from deblur.inference.restorer import Restorer
from deblur.models.engine import TorchEngine
from deblur.registry.record import RunRecord
from deblur.training.checkpoint import has_state, load_checkpoint, network_from, network_of
from deblur.training.registering import as_trained


def export_weights(
    source: Path, folder: Path, name: str, test_data: Sequence[str] = (), half: bool = False
) -> Scores | None:
    """Export and, where there are pairs, verify; returns the scores of the written file.

    Args:
        source: a checkpoint, the output folder of a training (its newest averaged weights), or a model folder.
        folder: where ``model.onnx`` and ``model.json`` go; the tile is the one that the weights were validated with.
        name: what the model is called.
        test_data: sources of validation pairs.
        half: keep the weights in float16.

    Raises:
        ModelError: no weights there.
        RegistrationError: the written file scores otherwise than the weights did.
    """
    settings: Mapping[str, Any]
    if source.is_file():
        state = load_checkpoint(source)
        network, settings = network_of(state), state.get("settings", {})
    else:
        network, record = network_from(source), RunRecord(source)
        settings = record.run["settings"] if record.exists else {}
    made = as_trained(settings)
    is_model = source.is_dir() and not has_state(source)
    tiling = read_info(source).tiling if is_model else made.tiling(network)
    sources = open_sources(test_data, Reading(made.blur_gamma, made.average))
    benchmark = Benchmark(validation_pairs(sources, None, made.strength, made.recipe))
    scored = benchmark.score(Restorer(TorchEngine(network), tiling)) if benchmark.pairs else None
    export_model(network, folder, name=name, tiling=tiling, git_commit=project.git_state()[0], half=half)
    return verify_model(folder, benchmark, scored.mean("psnr_db")) if scored else None
