"""The model card: what a model is, what it was made from, what it does and what it harms. Written from what is recorded
in ``model.json``, nothing by hand (Mitchell et al., "Model Cards for Model Reporting", 2019)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deblur.errors import DataError
from deblur.evaluation.summary import WEAK
from deblur.files import write_whole
from deblur.inference.model_folder import CARD_FILE, ModelInfo, write_info
from deblur.interval import Interval

NOT_RECORDED = "not recorded"
RECIPE = {
    "preset": "preset",
    "init": "began from",
    "loss": "loss",
    "teacher": "teacher",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "schedule": "schedule",
    "batch_size": "batch",
    "patch_size": "crop, px",
    "num_epochs": "epochs",
    "epoch_images": "crops an epoch",
    "ema_decay": "decay of the average of the weights",
    "severity": "severity of synthetic blur",
    "precision": "precision",
    "device": "device",
    "seed": "seed",
}
"""Settings that a reader asks for; the run in MLflow has all."""
SYNTHESISED = ("photos:", "leaves", "film:")
"""How sources begin whose blur is synthetic."""


def with_figures(info: ModelInfo, told: Mapping[str, Any]) -> ModelInfo:
    """The model with its figures of an evaluation, as that was written to JSON.

    Raises:
        DataError: the evaluation is of other models, or no evaluation.
    """
    try:
        ways = {each["sha256"]: each["name"] for each in told["ways"] if each["sha256"]}
        if info.sha256 not in ways:
            raise DataError(
                f"The evaluation is of {', '.join(ways.values()) or 'no model'}, and not of {info.label} (sha256 "
                f"{info.sha256[:16]}). Evaluate this model."
            )
        own = {
            key: [each for each in told[key] if each["way"] == ways[info.sha256]]
            for key in ("summaries", "sharp_photographs", "bins")
        }
        return replace(info, reported={key: told[key] for key in ("machine", "ssim", "sets")} | own)
    except (KeyError, TypeError) as error:
        raise DataError(f"This is no evaluation that 'deblur evaluate' wrote: {error!r} is missing.") from error


def write_card(folder: Path, info: ModelInfo) -> Path:
    """Write ``model.json`` and ``CARD.md`` of a model folder; returns the card's path."""
    write_info(folder, info)
    path = folder / CARD_FILE
    write_whole(path, card(info).encode())
    return path


def card(info: ModelInfo) -> str:
    """Markdown."""
    network = ", ".join(f"{key} {value}" for key, value in info.architecture.items() if key != "name")
    made = (
        f"Restores blurred photographs. {info.architecture['name']} ({network}), `model.onnx` sha256 "
        f"`{info.sha256[:16]}`, computed in {info.precision}."
    )
    if info.origin:
        made += (
            f"\nTrained by others and imported from {info.origin['file']}, sha256 `{info.origin['sha256'][:16]}`. "
            f"Licence: {info.licence or NOT_RECORDED}."
        )
    trained = info.trained or {}
    sections = {
        "Scores": _scores(info, info.reported) if info.reported else _score(info),
        "Known harms": _bullets(_harms(info.reported)),
        "Data": _data(trained.get("datasets", ())),
        "Recipe": _recipe(info, trained),
        "Limits": _bullets(_limits(info)),
    }
    return "\n\n".join([f"# {info.label}", made, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"


def _score(info: ModelInfo) -> str:
    """Where no evaluation was reported: what chose or registered it."""
    if info.psnr_db is None or info.psnr_input_db is None:
        return "Nobody has scored it."
    gain = info.gain_db or f"{info.psnr_db - info.psnr_input_db:+.2f}"
    images = "it was registered with" if info.origin else "that chose its checkpoint"
    return (
        f"{info.psnr_db:.2f} dB on the images {images}: {gain} dB over the blurry input. On images that chose nothing "
        "it was not scored."
    )


def _scores(info: ModelInfo, reported: Mapping[str, Any]) -> str:
    fingerprints = {each["name"]: each["fingerprint"] for each in reported["sets"]}
    rows = [
        [
            each["set"],
            f"{each['images']}",
            f"{each['psnr_input_db']:.2f}",
            _interval(each["gain_db"]),
            _interval(each["shifted_gain_db"]),
            f"{each['ssim_input']:.4f} -> {each['ssim']:.4f}",
            f"{each['gain_db']['groups']} {each['gain_db']['by']}",
            fingerprints[each["set"]],
        ]
        for each in reported["summaries"]
    ]
    heads = ["set", "pairs", "input dB", "gain dB", "after one shift", "SSIM", "over", "fingerprint"]
    machine = reported["machine"]
    paces = sorted({f"{each['seconds_per_megapixel']:.2f}" for each in reported["summaries"]}, key=float)
    pace = f": {' to '.join(dict.fromkeys([paces[0], paces[-1]]))} s a megapixel" if paces else ""
    said = (
        "Gains in PSNR over the blurry input, mean and 95 % interval, as the images come and after one global shift; "
        "with the guard, as users get it."
    )
    measured = f"SSIM: {reported['ssim']}. Measured on {machine['processor']}, {machine['cores']} cores{pace}."
    return f"{said}\n\n{_table(heads, rows)}\n\n{measured}"


def _harms(reported: Mapping[str, Any] | None) -> list[str]:
    if reported is None:
        return ["Nobody has looked for any."]
    lines = [
        f"{each['set']}: the worst of {each['images']} pairs loses {-each['least_gain_db']:.2f} dB."
        for each in reported.get("summaries", ())
        if each["least_gain_db"] < 0
    ]
    lines += [
        f"Weak blur (input of 30 dB and more, {group['images']} pairs): {_interval(group['gain_db'])} dB."
        for each in reported.get("bins", ())
        for group in each["groups"]
        if group["name"] == WEAK
    ]
    lines += [
        f"Sharp photographs ({each['set']}, {each['images']}): the output is {each['psnr_db']:.1f} dB from the "
        f"photograph on average, {each['least_psnr_db']:.1f} dB at worst ({each['least']})."
        for each in reported.get("sharp_photographs", ())
    ]
    return lines or ["None was found on these sets."]


def _data(datasets: Sequence[Mapping[str, Any]]) -> str:
    if not datasets:
        return f"{NOT_RECORDED.capitalize()}."
    rows = [[each["context"], each["name"], f"{each['images']}", each["licence"], each["digest"]] for each in datasets]
    return _table(["for", "name", "images", "licence", "digest"], rows)


def _recipe(info: ModelInfo, trained: Mapping[str, Any]) -> str:
    settings = trained.get("settings", {})
    if not any(each.startswith(SYNTHESISED) for each in settings.get("train_data", SYNTHESISED)):
        settings = {key: value for key, value in settings.items() if key != "severity"}
    rows = [[name, _told(settings[key])] for key, name in RECIPE.items() if settings.get(key) not in (None, "", [])]
    seconds, energy_kj = trained.get("seconds"), trained.get("energy_kj")
    rows.append(["time", f"{seconds:,.0f} s" if seconds else NOT_RECORDED])
    rows.append(["energy", f"{energy_kj:,.0f} kJ" if energy_kj else NOT_RECORDED])
    rows.append(["commit", info.git_commit or NOT_RECORDED])
    return _table(["", ""], rows)


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _limits(info: ModelInfo) -> Iterator[str]:
    reach = "lies in its tile" if info.reach_px is None else f"lies up to {info.reach_px} px away"
    yield f"A pixel of the result depends on what {reach}. Blur wider than that cannot be undone."
    if info.statistics:
        yield f"It computes statistics over the tile, so tiles of other than {info.tile_px} px change colours."
    bins = (info.reported or {}).get("bins", ())
    if groups := [group for each in bins if each["by"] == "blur strength" for group in each["groups"]]:
        least = min(groups, key=lambda group: group["gain_db"]["mean"])
        gain = f"{_interval(least['gain_db'])} dB on {least['images']} pairs"
        yield f"It gains least on blur of {least['name']} (as wide as such a Gaussian): {gain}."
    yield "It invents no detail on purpose, but what it sharpens need not have been there. It is no evidence."


def _interval(values: Mapping[str, Any] | None) -> str:
    return str(Interval.read(values)) if values else "-"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first, *others = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (heads, *rows)]
    return "\n".join([first, f"|{'---|' * len(heads)}", *others])
