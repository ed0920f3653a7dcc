"""The settings of a training run, and presets of them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from deblur import project
from deblur.data.sources import SourceName
from deblur.errors import SettingError
from deblur.inference.tiling import SizeRule, Tiling
from deblur.synthesis.draw import NOISE_ONLY, SEVERITIES, BlurRanges, strength_of
from deblur.synthesis.kernels import load_kernels

if TYPE_CHECKING:
    from deblur.models.network import Network


@dataclass(frozen=True)
class TrainConfig:
    """Train a network on blurry/sharp pairs, on sharp photos, or on nothing at all; verify the best checkpoint,
    register it.

    A source is a folder of pairs (blur/NAME and sharp/NAME, or one such folder a sequence as in GoPro),
    photos:FOLDER (sharp; their blur is synthesised), frames:FOLDER (high-speed sequences, averaged; Vimeo-90K), or
    leaves (dead leaves, generated without end), each with =WEIGHT behind it if you like.
    """

    train_data: tuple[str, ...] = ()
    """Sources of training crops, drawn by weight: gopro/train=3 photos:holiday leaves=0.5"""
    test_data: tuple[str, ...] = ()
    """Sources of validation pairs, scored as whole images; they choose the best checkpoint. Photos and leaves give a
    fixed synthetic set. Without it every tenth photo is held back, or leaves validate."""
    registered_model_name: str | None = None
    """Name to register the verified best under; without it nothing is registered."""
    preset: Literal["published", "residual", "small", "fast"] = "published"
    """A set of defaults: 'residual' predicts the correction; 'small' is a residual width-16 network for CPUs; 'fast' a
    FastUNet, several times faster."""

    batch_size: int = 24
    """Crops a step, of all processes and micro-batches together."""
    accumulate: int = 1
    """Micro-batches a step: the same gradients in a part of the memory."""
    num_epochs: int = 200
    """Epochs; the cosine schedule ends with the last."""
    learning_rate: float = 2e-4
    """AdamW's learning rate at the start; the cosine takes it to 1e-6."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    clip_norm: float = 1.0
    """Largest gradient norm of a step."""
    ema_decay: float = 0.999
    """Decay of the average of the weights, which is what is validated and registered; 0 takes the last weights."""
    patience: int = 50
    """Epochs without a better PSNR before the run stops."""
    epoch_images: int | None = None
    """Crops an epoch; by default the number of pairs and photos (1000 for leaves)."""
    patch_size: int = 256
    """Side of a crop, px; a multiple of 16. Up to 160 px MS-SSIM uses fewer scales."""

    network: Literal["DeblurUNet", "FastUNet"] = "DeblurUNet"
    """DeblurUNet as published, or FastUNet: half resolution, no normalisation, the same result however it is tiled."""
    width: int = 32
    """Channels of the first level, a multiple of 8; 32 gives 8,636,451 parameters (FastUNet: 2,392,908)."""
    residual: bool = False
    """Predict the correction, with the head at zero: training starts at doing nothing. (FastUNet always does.)"""
    init: str | None = None
    """Start from these weights: a checkpoint, the output folder of a training, a model folder or
    models:/NAME@ALIAS. A model that was exported frozen trains on without GroupNorm, a checkpoint with it."""

    val_images: int | None = None
    """Validate on this many pairs, spread evenly; by default on all."""
    eval_every: int = 1
    """Epochs between validations (the last epoch is always validated)."""
    tile_size: int = 512
    """Tile side in validation and in the exported model, px."""
    tile_overlap: int = 32
    """Overlap of neighbouring tiles, px; 64 as published. (FastUNet takes what its reach needs.)"""
    freeze: Literal["auto", "off"] = "auto"
    """auto: export DeblurUNet with GroupNorm's statistics frozen where the validation images come out better so."""
    blur_gamma: bool = False
    """Pairs: use GoPro's blur_gamma/ (averaged in linear light) instead of blur/; frames: average in linear light."""
    average: int | None = None
    """Frames averaged into one blurry image, an odd number; by default 7."""
    blur: Literal["camera", "noise"] = "camera"
    """What is made of sharp pixels: camera blur with all that follows it, or noise alone (denoising)."""
    kernels: Path | None = None
    """Folder of measured blur kernels (images or .npy) that synthetic blur draws from, too."""
    severity: Literal["mild", "medium", "strong"] | float = "medium"
    """How strong synthetic blur is: a name, or 0 to 1."""
    milder: float = 0.0
    """Share of synthetic samples whose blur is weaker, by chance, down to none: what is nearly sharp must stay so."""
    severity_schedule: Literal["constant", "ramp", "plateau"] = "constant"
    """ramp: grows over the first half of the run; plateau: grows whenever validation stalls."""
    synthesis: Literal["auto", "loader", "device"] = "auto"
    """Where synthetic blur is made: by the processes that load, or batched on the device; auto: there on GPUs."""
    cache: Path | None = None
    """Decode every image once into this folder and read crops from there; it can be shared by runs and deleted."""

    output_dir: Path = Path("checkpoints")
    """Where checkpoints, the run's record and the exported model go; by default checkpoints/ at the repository root."""
    seed: int = 0
    """Seed of weights, order, crops and blur."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto: a GPU if there is one."""
    precision: Literal["auto", "f32", "bf16", "fp16"] = "auto"
    """What convolutions are computed in while training: auto takes bf16 where the hardware has it, else f32."""
    compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compile the network first (torch.compile): minutes at the start, faster steps on GPUs."""
    num_workers: int | None = None
    """Processes that load data; by default one a core, at most 8."""
    doctor: Literal["on", "off"] = "on"
    """on: look the data over first (quickly); what 'deblur doctor' calls an error ends the run before it begins."""
    skip_bad: int = 0
    """Leave out up to this many pairs and photos that are broken, after looking at all; they are listed in the run."""
    nonfinite_limit: int = 20
    """Steps without finite loss and gradients before the run goes back to its last good state, or, then, stops."""
    tracking: Literal["on", "off"] = "on"
    """off: no mlflow; the record on disk can be sent later with 'deblur ship OUTPUT_DIR'."""
    save_minutes: float = 5.0
    """A training state is saved after every validation and whenever this time has passed; what a kill can cost."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Demand that the run in OUTPUT_DIR goes on. Without it, it goes on if settings and data are the same, and is set
    aside in OUTPUT_DIR/earlier if not."""
    fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin anew, whatever is in OUTPUT_DIR; it is set aside in OUTPUT_DIR/earlier."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print every resolved setting and stop."""

    @classmethod
    def as_trained(cls, settings: Mapping[str, Any]) -> "TrainConfig":
        """What crops and validation depend on, from a run's recorded settings; where they say nothing, as published."""
        names = (
            *("network", "blur", "blur_gamma", "average", "severity", "milder"),
            *("patch_size", "seed", "tile_size", "tile_overlap"),
        )
        known = {"tile_overlap": 64} | {name: settings[name] for name in names if name in settings}
        kernels = settings.get("kernels")
        return cls(**known, kernels=Path(kernels) if kernels else None)

    @property
    def strength(self) -> float:
        """The severity as a number, 0 to 1."""
        return strength_of(self.severity)

    @property
    def ranges(self) -> BlurRanges:
        """What is done to sharp pixels."""
        ranges = replace(NOISE_ONLY if self.blur == "noise" else BlurRanges(), milder=self.milder)
        if not self.kernels:
            return ranges
        kernels = load_kernels(self.kernels)
        reach_px = max(ranges.reach_px, *(kernel.shape[0] // 2 for kernel in kernels))
        return replace(ranges, measured=kernels, reach_px=reach_px)

    def tiling(self, network: "Network") -> Tiling:
        """Tiles of validation; where the network sees only so far, their halo makes the result the whole image's."""
        reach = network.receptive_px
        if reach is None:
            return Tiling(self.tile_size, self.tile_overlap, network.size_rule)
        if self.tile_size < 4 * reach:
            raise SettingError(f"--tile_size is {self.tile_size}; {self.network} needs at least {4 * reach}.")
        return Tiling(self.tile_size, 2 * reach, network.size_rule, halo_px=reach)

    @property
    def architecture(self) -> dict[str, Any]:
        """What ``models.build`` makes."""
        fitting = {"residual": self.residual} if self.network == "DeblurUNet" else {}
        return {"name": self.network, "width": self.width, **fitting}

    def resolved(self) -> "TrainConfig":
        """The same settings with every default decided and checked.

        Raises:
            SettingError: a value out of range.
        """
        self._check()
        cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = min(max(cores, 1), 8) if self.num_workers is None else self.num_workers
        init_is_path = self.init is not None and not self.init.startswith("models:/")
        return replace(
            self,
            num_workers=workers,
            train_data=tuple(str(SourceName.parse(text)) for text in self.train_data),
            test_data=tuple(str(SourceName.parse(text)) for text in self.test_data),
            severity=self.strength,
            cache=_absolute(self.cache),
            kernels=_absolute(self.kernels),
            output_dir=Path(os.path.abspath(self.output_dir)),
            init=os.path.abspath(self.init) if self.init and init_is_path else self.init,
        )

    def _check(self) -> None:
        for names, fits, allowed in RULES:
            for name in names.split():
                value = getattr(self, name)
                if value is not None and not fits(value):
                    raise SettingError(f"--{name} is {value}; it must be {allowed}.")
        Tiling(self.tile_size, self.tile_overlap, SizeRule(multiple_of=16, min_side_px=16))
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        if self.batch_size % (self.accumulate * processes):
            raise SettingError(
                f"--batch_size is {self.batch_size}; it must divide into {self.accumulate} micro-batches for each of "
                f"{processes} processes."
            )
        if self.kernels and self.blur == "noise":
            raise SettingError("--kernels are for blur, and --blur is noise: give one of them.")
        if self.resume and self.fresh:
            raise SettingError("--resume goes on with a run, --fresh begins anew: give one of them.")
        if self.tracking == "off" and self.registered_model_name:
            raise SettingError(
                "--registered_model_name needs the registry, and --tracking is off. Leave the name out and register "
                "later: 'deblur ship OUTPUT_DIR --name NAME'."
            )


RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "batch_size accumulate num_epochs patience eval_every epoch_images val_images",
        lambda value: value >= 1,
        "at least 1",
    ),
    ("learning_rate clip_norm", lambda value: value > 0, "above 0"),
    ("weight_decay skip_bad nonfinite_limit save_minutes num_workers seed", lambda value: value >= 0, "0 or more"),
    ("severity", lambda value: value in SEVERITIES or 0 <= float(value) <= 1, "mild, medium, strong, or 0 to 1"),
    ("average", lambda value: value >= 3 and value % 2 == 1, "an odd number, at least 3"),
    ("milder", lambda value: 0 <= value <= 1, "0 to 1"),
    ("ema_decay", lambda value: 0 <= value < 1, "at least 0 and below 1"),
    ("patch_size", lambda value: value >= 16 and value % 16 == 0, "a multiple of 16, at least 16"),
    ("width", lambda value: value >= 8 and value % 8 == 0, "a multiple of 8"),
    ("registered_model_name", lambda value: not set("/:") & set(value), "without / and :"),
)
"""Settings, what they must fulfil, and how that is told."""


def _absolute(path: Path | None) -> Path | None:
    """Relative paths belong to the current folder."""
    return None if path is None else Path(os.path.abspath(path))


def presets() -> dict[str, TrainConfig]:
    """Defaults by name. All keep the spine: U-Net, MS-SSIM + Charbonnier, clipping, best PSNR."""
    published = TrainConfig(output_dir=project.root() / "checkpoints")
    return {
        "published": published,
        "residual": replace(published, preset="residual", residual=True),
        "small": replace(
            published,
            preset="small",
            residual=True,
            width=16,
            patch_size=128,
            tile_size=256,
            batch_size=8,
            learning_rate=4e-3,
        ),
        "fast": replace(
            published,
            preset="fast",
            network="FastUNet",
            tile_size=1024,
            batch_size=8,
            learning_rate=1e-3,
        ),
    }
