"""Write weights that exist already as a model folder: to copy, to serve, to ship with a package."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deblur import project
from deblur.data.sources import Reading, mixture, open_sources, validation_pairs
from deblur.errors import SettingError
from deblur.evaluation.scores import EvaluationSet, Scores
from deblur.export.onnx import export_model, verify_model
from deblur.inference.model_folder import read_info
from deblur.inference.restorer import Restorer
from deblur.inference.tiling import Tiling
from deblur.models.checkpoint import has_state, load_checkpoint, network_from, network_of
from deblur.models.engine import TorchEngine
from deblur.models.freezing import freeze
from deblur.models.network import Network
from deblur.models.unet import DeblurUNet
from deblur.registry.record import RunRecord
from deblur.training.config import TrainConfig
from deblur.training.freezing import first_crops


def export_weights(
    source: Path,
    folder: Path,
    name: str,
    test_data: Sequence[str] = (),
    half: bool = False,
    freeze_over: Sequence[str] = (),
) -> Scores | None:
    """Export and, where there are pairs, verify; returns the scores of the written file.

    Args:
        source: a checkpoint, the output folder of a training (its newest averaged weights), or a model folder.
        folder: where ``model.onnx`` and ``model.json`` go; the tile is the one that the weights were validated with.
        name: what the model is called.
        test_data: sources of validation pairs.
        half: keep the weights in float16.
        freeze_over: sources of training crops whose statistics take GroupNorm's place.

    Raises:
        ModelError: no weights there.
        SettingError: ``freeze_over`` for a network without GroupNorm.
        RegistrationError: the written file scores otherwise than the weights did.
    """
    settings: Mapping[str, Any]
    if source.is_file():
        state = load_checkpoint(source)
        network, settings = network_of(state), state.get("settings", {})
    else:
        network, record = network_from(source), RunRecord(source)
        settings = record.run["settings"] if record.exists else {}
    made = TrainConfig.as_trained(settings)
    is_model = source.is_dir() and not has_state(source)
    tiling = read_info(source).tiling if is_model else made.tiling(network)
    reading = Reading(made.blur_gamma, made.average)
    if freeze_over:
        if not isinstance(network, DeblurUNet) or network.frozen:
            raise SettingError(f"--freeze: {source} has no GroupNorm. Leave --freeze out.")
        crops = mixture(open_sources(freeze_over, reading), made.patch_size, made.seed, made.ranges)
        network = freeze(network, first_crops(crops, made.strength))
    sources = open_sources(test_data, reading)
    benchmark = EvaluationSet(validation_pairs(sources, None, made.strength, made.ranges))
    if benchmark.pairs:
        return export_and_verify(network, folder, benchmark, tiling, name=name, half=half)[1]
    export_model(network, folder, name=name, tiling=tiling, git_commit=project.git_state()[0], half=half)
    return None


def export_and_verify(
    network: Network,
    folder: Path,
    benchmark: EvaluationSet,
    tiling: Tiling,
    *,
    name: str,
    half: bool = False,
    check: Callable[[], None] = lambda: None,
) -> tuple[Scores, Scores]:
    """Score a network, export it, score the written file; returns both scores.

    Args:
        network: the network.
        folder: where ``model.onnx`` and ``model.json`` go.
        benchmark: the validation pairs.
        tiling: how images are cut.
        name: what the model is called.
        half: keep the weights in float16.
        check: called between tiles; an exception it raises stops the work.

    Raises:
        RegistrationError: the written file scores otherwise than the network did.
    """
    restorer = Restorer(TorchEngine(network), tiling)
    scores = benchmark.score(lambda pixels: restorer(pixels, check=check))
    export_model(network, folder, name=name, tiling=tiling, git_commit=project.git_state()[0], half=half)
    return scores, verify_model(folder, benchmark, scores.mean("psnr_db"), check)
