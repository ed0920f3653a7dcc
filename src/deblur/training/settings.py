"""The settings of a training run, in groups.

The command line shows the groups flat, under the fields' own names. A group is a decision: everything outside ``run``
decides what comes out, so a run that goes on must have the same; what is in ``run`` may change. Settings stop at
``recipe.py``: everything below takes plain arguments.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_type_hints

from deblur import project
from deblur.data.crops import CropSizes
from deblur.data.sources import Reading, SourceName, check_trains
from deblur.errors import SettingError
from deblur.inference.locating import BUNDLED
from deblur.inference.tiling import SizeRule, Tiling
from deblur.losses.objective import Objective, asks_teacher, check_terms, parse_terms
from deblur.models import ARCHITECTURES, build, options_of
from deblur.models.network import OVERLAP_PX, TILE_PX, Network
from deblur.registry.names import ALLOWED_NAME, is_name
from deblur.synthesis.degradations import ranges_of
from deblur.synthesis.draw import SEVERITIES, BlurRanges, strength_of
from deblur.synthesis.kernels import load_kernels
from deblur.training.optimization import OPTIMIZERS, SCHEDULES, Decay, Optimization
from deblur.training.presets import PRESETS
from deblur.training.state import Timetable

if TYPE_CHECKING:
    from tyro.conf import FlagCreatePairsOff, Suppress

    NetworkName: TypeAlias = str
    OptimizerName: TypeAlias = str
    ScheduleName: TypeAlias = str
    PresetName: TypeAlias = str
else:  # what the tables hold is what the command line allows
    NetworkName, OptimizerName = Literal[tuple(ARCHITECTURES)], Literal[tuple(OPTIMIZERS)]
    ScheduleName, PresetName = Literal[tuple(SCHEDULES)], Literal[tuple(PRESETS)]
    try:
        from tyro.conf import FlagCreatePairsOff, Suppress
    except ImportError:  # marks for a command line, which a machine that only computes may do without
        FlagCreatePairsOff = Suppress = None


@dataclass(frozen=True)
class Limit:
    """What a setting must fulfil, and how that is told. It stands beside the setting's type."""

    fits: Callable[[Any], bool]
    allowed: str


AT_LEAST_1 = Limit(lambda value: value >= 1, "at least 1")
NOT_NEGATIVE = Limit(lambda value: value >= 0, "0 or more")
POSITIVE = Limit(lambda value: value > 0, "above 0")
SHARE = Limit(lambda value: 0 <= value <= 1, "0 to 1")
DECAY = Limit(lambda value: 0 <= value < 1, "at least 0 and below 1")
ODD = Limit(lambda value: value >= 3 and value % 2 == 1, "an odd number, at least 3")
CROP = Limit(
    lambda value: all(px >= 16 and px % 16 == 0 for _, px in CropSizes.parse(value).parts),
    "a multiple of 16, at least 16",
)
NAME = Limit(is_name, ALLOWED_NAME)
SEVERITY = Limit(lambda value: value in SEVERITIES or 0 <= float(value) <= 1, "mild, medium, strong, or 0 to 1")

Switch = Annotated[bool, FlagCreatePairsOff]
"""Off unless it is named."""


@dataclass(frozen=True)
class RunSettings:
    """Where things are, and how the run works. These may change when a run goes on: of the data it is the images that
    must be the same, not where they lie."""

    train_data: tuple[str, ...] = ()
    """Sources of training crops, drawn by weight: gopro/train=3 photos:holiday leaves=0.5"""
    test_data: tuple[str, ...] = ()
    """Sources of validation pairs, scored as whole images; they choose the best checkpoint. Photos and leaves give a
    fixed synthetic set. Without it pairs and frames are split by scene into training, validation and promotion, every
    tenth photo is held back, or leaves validate."""
    registered_model_name: Annotated[str | None, NAME] = None
    """Name to register the verified best model under; without it nothing is registered."""
    preset: PresetName = "published"
    """A set of defaults: published (the usual), residual (predicts the correction), small (a narrow network for
    CPUs), fast (a FastUNet, several times faster), best-recipe (small, with the best of what was compared), weights (to
    train the bundled weights further); the others are systems that others published. documentation/training.md
    explains each."""
    output_dir: Path = Path("checkpoints")
    """Where checkpoints, the run's record and the exported model go; by default checkpoints/ at the repository root."""
    freeze: Literal["auto", "off"] = "auto"
    """auto exports a network that has GroupNorm with its statistics frozen, if validation images come out better so;
    off never does."""
    tracking: Literal["on", "off"] = "on"
    """on sends the run to MLflow; off only records it on disk, and 'deblur ship OUTPUT_DIR' can send it later."""
    doctor: Literal["on", "off"] = "on"
    """on looks the data over first (quickly): what 'deblur doctor' calls an error ends the run before it begins."""
    skip_bad: Annotated[int, NOT_NEGATIVE] = 0
    """Leave out up to this many pairs and photos that are broken, after looking at all; they are listed in the run."""
    cache: Path | None = None
    """Decode every image once into this folder and read crops from there; it can be shared by runs and deleted."""
    teacher: str | None = None
    """A model whose answers the loss's terms teacher:TERM compare with: a model folder, models:/NAME@ALIAS, a
    checkpoint, official weights, or the folder that 'deblur teach' saved its answers in."""
    vgg: Path | None = None
    """File with the weights of VGG-19, which the term perceptual of the loss needs."""
    kernels: Path | None = None
    """Folder of measured blur kernels (images or .npy) that synthetic blur also draws from."""
    device: str = "auto"
    """Where to train: cpu, cuda, cuda:1, mps, or auto, which takes a GPU if there is one."""
    compile: Switch = False
    """Compile the network first (torch.compile): minutes at the start, faster steps on GPUs."""
    num_workers: Annotated[int | None, NOT_NEGATIVE] = None
    """Number of processes that load data; by default one for each core, at most 8."""
    nonfinite_limit: Annotated[int, NOT_NEGATIVE] = 20
    """Steps without finite loss and gradients before the run goes back to its last good state, or, then, stops."""
    save_minutes: Annotated[float, NOT_NEGATIVE] = 5.0
    """Minutes after which a training state is saved; one is saved after every validation, too. A kill costs at most so
    much training, and the validation that it ends."""
    resume: Switch = False
    """Demand that the run in OUTPUT_DIR goes on. Without it, it goes on if settings and data are the same, and is set
    aside in OUTPUT_DIR/earlier if not."""
    fresh: Switch = False
    """Begin anew, whatever is in OUTPUT_DIR; it is set aside in OUTPUT_DIR/earlier."""
    dry_run: Switch = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class DataSettings:
    """How crops and validation images are made of the data."""

    patch_size: Annotated[int | tuple[str, ...], CROP] = 256
    """Side of a crop, px; a multiple of 16. Up to 160 px MS-SSIM uses fewer scales. Or sides that grow: 128@0.5 192@0.8
    256 has 128 px in the first half of the run, 192 up to 80 %, then 256."""
    epoch_images: Annotated[int | None, AT_LEAST_1] = None
    """Crops an epoch, rounded down to whole batches; by default the number of pairs and photos (1000 for leaves, 32 for
    each window of a film)."""
    val_images: Annotated[int | None, AT_LEAST_1] = None
    """Validate on this many pairs, spread evenly; by default on all."""
    blur_gamma: bool = False
    """Pairs: use GoPro's blur_gamma/ (averaged in linear light) instead of blur/; frames: average in linear light."""
    average: Annotated[int | None, ODD] = None
    """Number of frames that are averaged into a blurry image, an odd number; by default 7."""
    data_on_device: Switch = False
    """Keep decoded photos and pairs in the device's memory: crops are cut, zoomed, turned and blurred there."""
    seed: Annotated[int, NOT_NEGATIVE] = 0
    """Seed of weights, order, crops and blur."""

    @property
    def sizes(self) -> CropSizes:
        """Of the crops, over the run."""
        return CropSizes.parse(self.patch_size)


@dataclass(frozen=True)
class BlurSettings:
    """How sharp pictures are blurred, where the blur is synthetic."""

    blur: str = "camera"
    """What makes sharp pixels blurry: camera (blur with all that follows it), or one degradation alone: noise (a
    sensor's), white (noise of up to 50 levels; white=25 of that many), gaussian, scale (down and up), motion-jpeg."""
    severity: Annotated[Literal["mild", "medium", "strong"] | float, SEVERITY] = "medium"
    """How strong synthetic blur is: a name, or a number from 0 to 1."""
    milder: Annotated[float, SHARE] = 0.0
    """Share of synthetic samples whose blur is weaker, by chance, down to none: what is nearly sharp must stay so."""
    noise: Annotated[float | None, SHARE] = None
    """Share of synthetic samples that get a sensor's noise; by default as the kind of blur has it (camera: 0.35)."""
    severity_schedule: Literal["constant", "ramp", "plateau"] = "constant"
    """How the severity changes: constant; ramp lets it grow over the first half of the run, plateau whenever validation
    stalls."""
    synthesis: Literal["auto", "loader", "device"] = "auto"
    """Where synthetic blur is made: loader in the processes that load, device in batches on the device that trains;
    auto takes a GPU if there is one."""

    @property
    def strength(self) -> float:
        """The severity as a number, 0 to 1."""
        return strength_of(self.severity)


@dataclass(frozen=True)
class NetworkSettings:
    """The network, where its weights begin, and how it cuts images."""

    network: NetworkName = "DeblurUNet"
    """DeblurUNet as published, FastUNet for CPUs, or another; documentation/networks.md compares them. The chosen
    one's own arguments stand below."""
    options: Annotated[Mapping[str, Any], Suppress] = field(default_factory=lambda: options_of("DeblurUNet"))
    """The network's own arguments; the command line has each under its own name."""
    init: str | None = None
    """Start from these weights: a checkpoint (or official weights of NAFNet or Restormer), the output folder of a
    training, a model folder, models:/NAME@ALIAS, or bundled. A model that was exported frozen trains on without
    GroupNorm, a checkpoint with it."""
    tile_size: int = TILE_PX
    """Tile side in validation and in the exported model, px. (FastUNet takes 544 at least.)"""
    tile_overlap: int = OVERLAP_PX
    """Overlap of neighbouring tiles, px; 64 as published. (FastUNet and StackedConv take what their reach needs.)"""

    @property
    def architecture(self) -> dict[str, Any]:
        """What ``models.build`` makes."""
        return {"name": self.network, **self.options}

    def tiling(self, network: Network) -> Tiling:
        """Tiles of validation."""
        return network.tiling(self.tile_size, self.tile_overlap)


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is minimised."""

    loss: tuple[str, ...] = ("ms-ssim=0.84", "charbonnier=0.16")
    """Terms of the loss with their weights. Each compares with the sharp picture, or, as in teacher:l1=0.5, with what
    the teacher makes of the blurry one; documentation/distillation.md lists them."""
    teacher_decay: str = "none"
    """How the teacher's terms fade over the run: none, linear or cosine, perhaps done at a share of it: cosine@0.8."""


@dataclass(frozen=True)
class ScheduleSettings:
    """How the weights are moved, and for how long."""

    batch_size: Annotated[int, AT_LEAST_1] = 24
    """Number of crops in a step, of all processes and micro-batches together."""
    accumulate: Annotated[int, AT_LEAST_1] = 1
    """Micro-batches in a step: the same gradients in a part of the memory (except for EcaUNet, which has batch
    normalisation, and Msafn and NAFNet with drop, which is stochastic depth)."""
    num_epochs: Annotated[int, AT_LEAST_1] = 200
    """Number of epochs; the learning-rate schedule ends with the last."""
    minutes: Annotated[float | None, POSITIVE] = None
    """Instead of num_epochs: train for about so long. Speed is measured first; the run records what came of it as
    num_epochs and epoch_images."""
    optimizer: OptimizerName = "adamw"
    """What moves the weights: muon makes steps of one length in all directions (Jordan et al. 2024), and often needs
    fewer of them."""
    learning_rate: Annotated[float, POSITIVE] = 2e-4
    """The optimizer's learning rate at the start, or at its peak."""
    schedule: ScheduleName = "cosine"
    """How the learning rate changes: cosine takes it to 1e-6 by the end; restarts does so three times, each time more
    slowly; onecycle first raises it (Smith and Topin 2019); plateau halves it after five validations without a better
    PSNR."""
    warmup: Annotated[float, DECAY] = 0.0
    """Share of the run in which the learning rate first rises to its value."""
    weight_decay: Annotated[float, NOT_NEGATIVE] = 1e-4
    """The optimizer's weight decay."""
    clip_norm: Annotated[float, POSITIVE] = 1.0
    """Largest gradient norm of a step."""
    centralise: Switch = False
    """Centralise gradients: each filter's have the mean 0 (Yong et al. 2020)."""
    ema_decay: Annotated[float, DECAY] = 0.999
    """Decay of the average of the weights, which is what is validated and registered; 0 takes the last weights."""
    patience: Annotated[int, AT_LEAST_1] = 50
    """Epochs without a better PSNR before the run stops."""
    eval_every: Annotated[int, AT_LEAST_1] = 1
    """Epochs between validations (the last epoch is always validated)."""
    precision: Literal["auto", "f32", "bf16", "fp16"] = "auto"
    """What convolutions are computed in while training: auto takes bf16 where the hardware has it, else f32."""


@dataclass(frozen=True)
class TrainSettings:
    """Train a network on blurry/sharp pairs, on sharp photos, or on nothing at all; verify the best checkpoint,
    register it.

    A source is a folder of pairs (blur/NAME and sharp/NAME, or one such folder a sequence as in GoPro),
    photos:FOLDER (sharp; their blur is synthesised), frames:FOLDER (high-speed sequences, averaged; Vimeo-90K),
    film:FILE (a film, or a folder of films), or leaves (dead leaves, generated without end), each with =WEIGHT behind
    it if you like.
    """

    run: RunSettings = RunSettings()
    data: DataSettings = DataSettings()
    blur: BlurSettings = BlurSettings()
    network: NetworkSettings = field(default_factory=NetworkSettings)
    objective: ObjectiveSettings = ObjectiveSettings()
    schedule: ScheduleSettings = ScheduleSettings()

    @classmethod
    def of_preset(cls, name: str) -> "TrainSettings":
        """The settings that a preset stands for."""
        return cls().but(preset=name, output_dir=project.root() / "checkpoints", **PRESETS[name])

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> "TrainSettings":
        """The settings of a run, as its record has them, flat; what an older version did not record is as it was then.

        What the record holds beside them (numbers of parameters, the device that was found) is passed over.
        """
        then = {"tile_overlap": 64} if "tile_overlap" not in values else {}
        first = cls().but(network=values["network"]) if values.get("network") in ARCHITECTURES else cls()
        hints = {name: hint for group in first.groups for name, hint in get_type_hints(type(group)).items()}
        known = {name: _unpacked(values[name], hints.get(name)) for name in first.flat() if name in values}
        return first.but(**then | known)

    @property
    def groups(self) -> list[Any]:
        """The groups, ``run`` first."""
        return [getattr(self, group.name) for group in fields(self)]

    def flat(self) -> dict[str, Any]:
        """Every setting under its own name, as runs record them."""
        values = {name: value for group in self.groups for name, value in vars(group).items() if name != "options"}
        return values | dict(self.network.options)

    def decisive(self) -> dict[str, Any]:
        """The settings that decide what comes out: all but those of the run group."""
        decisive = {name: value for name, value in self.flat().items() if name not in vars(self.run)}
        return decisive | {"severity": self.blur.strength}

    def but(self, **values: Any) -> "TrainSettings":
        """The same settings with other values, each under its own name.

        Another network comes with its own options; what was chosen for this one, and it has too, is kept.

        Raises:
            TypeError: a name that no group has.
        """
        groups: dict[str, Any] = {}
        for group in fields(self):
            own = {each.name for each in fields(getattr(self, group.name))} & values.keys()
            groups[group.name] = replace(getattr(self, group.name), **{name: values.pop(name) for name in own})
        network: NetworkSettings = groups["network"]
        options = options_of(network.network)
        usual = options_of(self.network.network)
        options |= {
            name: value for name, value in self.network.options.items() if name in options and value != usual[name]
        }
        unknown = sorted(values.keys() - options.keys())
        if unknown:
            raise TypeError(f"There is no setting {unknown[0]}; {network.network} has {', '.join(options)}.")
        groups["network"] = replace(network, options={**options, **values})
        return TrainSettings(**groups)

    @property
    def reading(self) -> Reading:
        """How sources are read."""
        return Reading(self.data.blur_gamma, self.data.average, self.run.cache and self.run.cache / "films")

    @property
    def ranges(self) -> BlurRanges:
        """What synthetic blur is drawn from."""
        ranges = replace(ranges_of(self.blur.blur), milder=self.blur.milder)
        if self.blur.noise is not None:
            ranges = replace(ranges, noise_share=self.blur.noise)
        if not self.run.kernels:
            return ranges
        kernels = load_kernels(self.run.kernels)
        reach_px = max(ranges.reach_px, *(kernel.shape[0] // 2 for kernel in kernels))
        return replace(ranges, measured=kernels, reach_px=reach_px)

    def new_objective(self, channels: tuple[int, int] | None = None) -> Objective:
        """What is minimised, with fresh parameters where it has some.

        Args:
            channels: of the features of student and teacher, where both are known.
        """
        return Objective(self.terms, self.run.vgg, channels)

    @property
    def terms(self) -> dict[str, float]:
        """Of the loss, with their weights."""
        return parse_terms(self.objective.loss)

    @property
    def optimization(self) -> Optimization:
        """How a step moves the weights."""
        return Optimization(**_fields_of(Optimization, self.schedule))

    @property
    def timetable(self) -> Timetable:
        """How long the run is, and what happens when."""
        return Timetable(**_fields_of(Timetable, self.run, self.blur, self.schedule) | {"severity": self.blur.strength})

    def resolved(self) -> "TrainSettings":
        """The same settings with every default decided and checked.

        Raises:
            SettingError: a value out of range.
        """
        self._check()
        run = self.run
        trained, validated = ([SourceName.parse(text) for text in texts] for texts in (run.train_data, run.test_data))
        for name in trained:
            check_trains(name)
        cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return self.but(
            num_workers=min(max(cores, 1), 8) if run.num_workers is None else run.num_workers,
            train_data=tuple(map(str, trained)),
            test_data=tuple(map(str, validated)),
            severity=self.blur.strength,
            loss=tuple(f"{name}={weight!r}" for name, weight in self.terms.items()),
            cache=_absolute(run.cache),
            kernels=_absolute(run.kernels),
            output_dir=Path(os.path.abspath(run.output_dir)),
            init=_absolute_model(self.network.init),
            teacher=_absolute_model(run.teacher),
            vgg=_absolute(run.vgg),
        )

    def _check(self) -> None:
        for name, value, limit in self._limited():
            if value is not None and not limit.fits(value):
                raise SettingError(f"{name} is {value!r}; it must be {limit.allowed}.")
        run, schedule = self.run, self.schedule
        Tiling(self.network.tile_size, self.network.tile_overlap, SizeRule(multiple_of=16, min_side_px=16))
        build(self.network.architecture, weights=False)
        Decay.parse(self.objective.teacher_decay)
        _ = self.optimization  # may refuse the schedule
        check_terms(self.terms, run.vgg, features=True)
        if asks_teacher(self.terms) != bool(run.teacher):
            raise SettingError(
                "A teacher needs a term of the loss that asks it, such as teacher:l1=0.5, and such a term needs a "
                f"teacher. The loss is {' '.join(self.objective.loss)}, the teacher {run.teacher or 'nobody'}."
            )
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        if schedule.batch_size % (schedule.accumulate * processes):
            raise SettingError(
                f"batch_size is {schedule.batch_size}; it must divide into {schedule.accumulate} micro-batches for "
                f"each of {processes} processes."
            )
        if schedule.minutes and processes > 1:
            raise SettingError("minutes is measured by one process. Give num_epochs where several train together.")
        if not ranges_of(self.blur.blur).measured_share and run.kernels:
            raise SettingError(f"kernels are for a camera's blur, and blur is {self.blur.blur}: give one of them.")
        if self.objective.teacher_decay != "none" and not run.teacher:
            raise SettingError(f"teacher_decay is {self.objective.teacher_decay}, and there is no teacher.")
        if self.blur.noise is not None and ranges_of(self.blur.blur).white_levels:
            raise SettingError(f"noise is a camera's, and blur is {self.blur.blur}: give one of them.")
        if self.data.data_on_device and self.blur.synthesis == "loader":
            raise SettingError("data_on_device leaves nothing for loaders to blur: leave synthesis out.")
        if run.resume and run.fresh:
            raise SettingError("resume goes on with a run, fresh begins anew: give one of them.")
        if run.tracking == "off" and run.registered_model_name:
            raise SettingError(
                "registered_model_name needs the registry, and tracking is off. Leave the name out and register "
                "later: 'deblur ship OUTPUT_DIR --name NAME'."
            )

    def _limited(self) -> Iterator[tuple[str, Any, Limit]]:
        for group in self.groups:
            for name, hint in get_type_hints(type(group), include_extras=True).items():
                for limit in getattr(hint, "__metadata__", ()):
                    if isinstance(limit, Limit):
                        yield name, getattr(group, name), limit


def _fields_of(kind: type, *groups: Any) -> dict[str, Any]:
    """The settings that a plain value is made of: those that have its fields' names."""
    there = {name: value for group in groups for name, value in vars(group).items()}
    return {each.name: there[each.name] for each in fields(kind)}


def _unpacked(value: Any, hint: Any) -> Any:
    """A value as its setting has it: JSON knows no tuples and no paths."""
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if value is not None and hint in (Path, Path | None) else value


def _absolute_model(name: str | None) -> str | None:
    """A model's folder or file; a registered model and the bundled one are words."""
    return name if not name or name == BUNDLED or name.startswith("models:/") else os.path.abspath(name)


def _absolute(path: Path | None) -> Path | None:
    """Relative paths belong to the current folder."""
    return None if path is None else Path(os.path.abspath(path))
