"""Where a run begins: anew, or where the run in its output folder was left."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deblur.errors import ModelError, SettingError
from deblur.files import sha256_of, sole_writer
from deblur.models import architecture_in, build
from deblur.models.checkpoint import has_state, load_checkpoint, recover_state
from deblur.models.network import Network
from deblur.registry.record import BEST_PATTERN, FINISHED, RunRecord
from deblur.training.state import Counters

DATA = "data_fingerprint"


@dataclass(frozen=True)
class Opened:
    """A record, the saved state to go on from (empty: from the start), and lines that a person should read.

    ``finished``: training, export and verification are done; at most the tracker and the registry lack something.
    ``best_lost``: the state's best checkpoint is no more.
    """

    record: RunRecord
    state: bytes = b""
    lines: Sequence[str] = ()
    finished: bool = False
    best_lost: bool = False


def sole_trainer(folder: Path) -> AbstractContextManager[None]:
    """Holds the folder's lock; raises as :func:`sole_writer`."""
    return sole_writer(folder, f"Another trainer works in {folder}. Wait for it, stop it, or give another output_dir.")


def open_run(
    folder: Path,
    name: str,
    settings: Mapping[str, Any],
    tags: dict[str, str],
    decisive: Mapping[str, Any],
    *,
    resume: bool = False,
    fresh: bool = False,
    left_out: Sequence[str] = (),
) -> Opened:
    """Go on with the run in ``folder`` if it has the same settings and data, else begin one.

    An earlier run that is not continued moves to ``earlier/`` inside the folder, whole.

    Args:
        folder: the output folder.
        name: of a new run.
        settings: resolved settings, to be recorded.
        tags: of a new run, with the data's fingerprint.
        decisive: the settings that must be the same for a run to go on, with their defaults: what a version before did
            not record was as it is by default.
        resume: going on is demanded; changed data is then told but no reason to begin anew.
        fresh: begin anew in any case.
        left_out: images that are not trained on, each with its reason: noted in the record once.

    Raises:
        SettingError: ``resume``, and there is no run, or one with other settings.
        ModelError: the run's states are all damaged.
    """
    settings, record = dict(settings), RunRecord(folder)
    if fresh or not record.exists:
        if resume:
            raise SettingError(f"{folder} holds no run to resume. Leave resume out to begin one.")
        opened = Opened(RunRecord.begin(folder, name, settings, tags))
    else:
        differences = _differences(record, settings, decisive)
        new_data = _new_data(record, settings, tags)
        if resume and differences:
            raise SettingError(
                f"The run in {folder} has other settings: {'; '.join(differences)}. Give those it was begun with, or "
                "begin a new run from its weights (init)."
            )
        if differences or (new_data and not resume):
            why = [*differences, *new_data]
            why += [] if differences else ["with resume it would have gone on all the same"]
            lines = [f"a new run: the one in {folder} is set aside in earlier/ there ({'; '.join(why)})"]
            opened = Opened(RunRecord.begin(folder, name, settings, tags), b"", lines)
        else:
            lines = ["the images, or how they are blurred, have changed since this run began"] if new_data else []
            opened = _reopen(record, settings, tags, lines)
    known = [event.get("reason") for event in opened.record.events]
    for reason in left_out:
        if reason not in known:
            opened.record.log_event("left_out", reason=reason)
    return replace(opened, lines=[*(f"left out: {reason}" for reason in left_out), *opened.lines])


def goes_on(
    record: RunRecord, settings: Mapping[str, Any], tags: Mapping[str, str], decisive: Mapping[str, Any]
) -> bool:
    """Whether :func:`open_run` would go on with an earlier run, where nothing is demanded."""
    return not _differences(record, settings, decisive) and not _new_data(record, settings, tags)


def _differences(record: RunRecord, settings: Mapping[str, Any], decisive: Mapping[str, Any]) -> list[str]:
    return changed({key: record.run["settings"].get(key, default) for key, default in decisive.items()}, settings)


def _new_data(record: RunRecord, settings: Mapping[str, Any], tags: Mapping[str, str]) -> list[str]:
    """How other data than the record's came: by other sources, where these are named otherwise; empty where it is the
    same, wherever it lies."""
    if record.run["tags"].get(DATA) == tags.get(DATA):
        return []
    before, now = (
        {name: " ".join(each.get(name) or ()) for name in ("train_data", "test_data")}
        for each in (record.run["settings"], settings)
    )
    return changed(before, now) or ["other images, or another law of synthesis"]


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``name: before -> now`` for every setting of both that differs, as JSON has it."""
    pairs = [(name, before[name], now[name]) for name in sorted(before.keys() & now.keys())]
    return [f"{name}: {a} -> {b}" for name, a, b in pairs if _as_json(a) != _as_json(b)]


def earlier_network(record: RunRecord, init: str | None) -> Network | None:
    """The network, without its weights, of an earlier run that was begun with the same ``init``.

    It may go on from its own state, and what ``init`` named may be gone by now.
    """
    if init is None or not record.exists:
        return None
    settings = record.run["settings"]
    return build(architecture_in(settings)) if settings.get("init") == init and "network" in settings else None


def _reopen(record: RunRecord, settings: dict[str, Any], tags: dict[str, str], lines: list[str]) -> Opened:
    if record.run["status"] == FINISHED:
        lines = [f"the run in {record.folder} is finished; use fresh to begin anew", *lines]
        return Opened(record, b"", lines, finished=True)
    if not has_state(record.folder):  # killed before its first state: the same run, from the start
        record.reopen(settings, tags)
        return Opened(record, b"", lines)
    try:
        saved = recover_state(record.folder)
    except ModelError as error:
        raise ModelError(f"{error} To set this run aside and begin anew, use fresh.") from error
    lines += [f"{damage}; the state before it is taken" for damage in saved.damaged]
    lines += [f"not to the same bits: {what}" for what in changed(_machine(record.run["tags"]), _machine(tags))]
    best_lost = _best_is_lost(record, Counters.of(load_checkpoint(saved.data)["counters"]))
    if best_lost:
        lines.append("the best checkpoint is missing or damaged (sha256 differs); the best is sought anew from here on")
    record.reopen(settings, tags)
    record.log_event("resumed", epoch=saved.epoch, step=saved.step, notes=lines)
    lines = [f"resumed after epoch {saved.epoch}, step {saved.step}", *lines]
    return Opened(record, saved.data, lines, best_lost=best_lost)


def _best_is_lost(record: RunRecord, counters: Counters) -> bool:
    """Best checkpoints that the state does not know, or that are damaged, move aside."""
    own = {counters.best.file: counters.best.sha256} if counters.best else {}
    strange = [
        path
        for path in record.folder.glob(BEST_PATTERN)
        if path.name not in counters.superseded and own.get(path.name) != sha256_of(path)
    ]
    record.move_aside(strange)
    return bool(own) and not (record.folder / next(iter(own))).is_file()


def _as_json(value: Any) -> str:
    return json.dumps(value, default=str)


def _machine(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: tags.get(name, "") for name in ("torch", "threads", "processes", "device")}
