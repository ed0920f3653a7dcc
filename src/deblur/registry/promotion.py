"""``@champion`` moves only with evidence: challenger, champion and the bundled model on one frozen set, and what came
of it, kept where the versions are."""

import hashlib
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblur.data.report_sets import ReportSet
from deblur.errors import ModelError, RegistrationError, SettingError
from deblur.evaluation.contest import Rules, Verdict, beats, check_enough, decide
from deblur.evaluation.evaluation import Evaluation, OnPart, evaluate
from deblur.evaluation.footprint import footprint_mb
from deblur.evaluation.measuring import Measured
from deblur.evaluation.seen import seen_by
from deblur.evaluation.ways import Way, model_ways
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import open_model, read_info
from deblur.registry.benchmarks import log_benchmark
from deblur.registry.tracking import connect, tracker_trouble
from deblur.registry.versions import BEATS_BUNDLED, CHALLENGER, CHAMPION, fetch

if TYPE_CHECKING:
    from mlflow import MlflowClient

SETS = "promotion_sets"
"""Tag of a registered model: the fingerprints of the sets that the last decision was made on."""
FORMER = "former_champion"
"""Tag of a version: the version that was champion before it."""
DECISION = "promotion"
"""Tag of a version: what the last decision said of it."""


@dataclass(frozen=True)
class Contestants:
    """Versions of one registered model; ``champion`` None where there is none yet."""

    name: str
    challenger: str
    champion: str | None

    def fetched(self) -> list[Path]:
        """The folders of challenger and champion.

        Raises:
            ModelError: one is gone; of the champion, with the way out.
        """
        folders = [fetch(f"models:/{self.name}/{self.challenger}")]
        if self.champion is None:
            return folders
        try:
            return [*folders, fetch(f"models:/{self.name}/{self.champion}")]
        except ModelError as error:
            back = shlex.join(["deblur", "promote", self.name, "--rollback"])
            raise ModelError(
                f"{error} Nothing can be compared with a champion that is gone; '{back}' gives its place to the "
                "version before it."
            ) from error


def contestants(name: str, challenger: str | None = None) -> Contestants:
    """Who stands against whom; the challenger is the alias's version, unless one is named.

    Raises:
        SettingError: the challenger is the champion.
        ModelError: no such model or version, no challenger, or a registry that fails.
    """
    with tracker_trouble(ModelError, f"{name} cannot be looked up in the registry"):
        aliases = connect(create=False).get_registered_model(name).aliases
    version = challenger or aliases.get(CHALLENGER)
    if version is None:
        raise ModelError(f"{name} has no challenger. Name a version.")
    found = Contestants(name, str(version), str(aliases[CHAMPION]) if CHAMPION in aliases else None)
    if found.challenger == found.champion:
        raise SettingError(f"{name} version {found.champion} is challenger and champion. Register another version.")
    return found


def check_sets(name: str, folders: Sequence[Path], sets: Sequence[ReportSet], *, new_sets: bool) -> None:
    """Refuse sets that cannot decide: those that trained or selected a contestant, and others than the last decision's.

    ``new_sets`` lets others than the last decision's decide.

    Raises:
        SettingError: it says which set, and why.
        ModelError: the registry fails.
    """
    infos = [read_info(folder) for folder in folders]
    if seen := [what for each in sets for info in infos if (what := seen_by(info, each))]:
        raise SettingError(
            f"{seen[0]} trained a contestant or selected its checkpoint, so it says too much good of it. Name a set "
            "that no training has seen; of a folder that was split by scene, promotion:FOLDER."
        )
    with tracker_trouble(ModelError, f"{name} cannot be looked up in the registry"):
        earlier = connect(create=False).get_registered_model(name).tags.get(SETS)
    if earlier and earlier != fingerprints(sets) and not new_sets:
        raise SettingError(
            f"The last decision on {name} was made on the sets {earlier}; these are {fingerprints(sets)}. Name the "
            "same data, or set new_sets if a new measure begins."
        )


def fingerprints(sets: Sequence[ReportSet]) -> str:
    """Of all sets and of the scenes that they are divided into, in an order of their own."""
    scenes = [hashlib.sha256("\n".join(each.scenes).encode("utf-8", "surrogateescape")).hexdigest() for each in sets]
    return " ".join(sorted(f"{each.fingerprint}-{told[:4]}" for each, told in zip(sets, scenes, strict=True)))


@dataclass(frozen=True)
class Judgement:
    """A decision with everything it rests on: challenger, champion and bundled model on the sets.

    ``beaten_bundled`` is the sha256 of the bundled model, where the champion afterwards surely beats it; ``memory_mb``
    is the peak of a process that restores an image of the largest size, of challenger and champion by name, where the
    system tells it.
    """

    evaluation: Evaluation
    ways: list[Way]
    verdict: Verdict
    beaten_bundled: str | None
    memory_mb: dict[str, float]


def judge(
    folders: Sequence[Path],
    sets: Sequence[ReportSet],
    rules: Rules = Rules(),
    on_done: OnPart = lambda report_set, number: None,
) -> Judgement:
    """Score challenger, champion (where ``folders`` has one) and bundled model side by side, and decide.

    Raises:
        DataError: too few pairs.
        SettingError: too few scenes.
    """
    pairs = [str((each.origin, scene)) for each in sets if not each.sharp for scene in each.scenes]
    check_enough(pairs, by_image=rules.by_image)  # before hours of work, not after
    bundled = bundled_model()
    others = [bundled] if bundled else []
    opened = [(str(folder), open_model(folder)) for folder in (*folders, *others)]
    ways = model_ways(opened)
    names = [way.name for way in ways]
    challenger, champion = names[0], names[1] if len(folders) > 1 else None
    evaluation = evaluate(sets, ways, on_done=on_done)
    verdict = decide(evaluation, challenger, champion, rules)
    serving = challenger if verdict.wins else champion
    beaten = None
    if bundled and serving and beats(evaluation, serving, names[-1], rules):
        beaten = opened[-1][1].info.sha256
    size_px = _largest_px(evaluation.images)
    memory_mb = {name: footprint_mb(folder, *size_px) for name, folder in zip(names, folders, strict=False)}
    told = {name: peak_mb for name, peak_mb in memory_mb.items() if math.isfinite(peak_mb)}
    return Judgement(evaluation, ways, verdict, beaten, told)


def _largest_px(rows: Sequence[Measured]) -> tuple[int, int]:
    """Height and width of the image with the most pixels."""
    largest = max(rows, key=lambda row: row.megapixels)
    return largest.height_px, largest.width_px


def carry_out(who: Contestants, judgement: Judgement, sets: Sequence[ReportSet], files: Sequence[Path]) -> str:
    """Move the alias where the challenger wins, and keep decision, figures and files in the registry; returns the run.

    The alias moves last: what it rests on is there already.

    Raises:
        RegistrationError: the registry refused or did not answer, or there is another champion by now.
    """
    verdict = judgement.verdict
    told = "wins" if verdict.wins else "does not win"
    figures = judgement.evaluation.figures | {"verdict": _flat(verdict), "memory_mb": judgement.memory_mb}
    run_id = log_benchmark(f"promote {who.name} {who.challenger}: {told}", figures, files)
    with tracker_trouble(RegistrationError, f"The decision on {who.name} could not be kept in the registry"):
        client = connect()
        client.set_registered_model_tag(who.name, SETS, fingerprints(sets))
        interval = f"{verdict.difference_db} dB against {verdict.against}"
        said = f"{told}: {interval}" + (f"; {'; '.join(verdict.reasons)}" if verdict.reasons else "")
        client.set_model_version_tag(who.name, who.challenger, DECISION, said)
        client.set_model_version_tag(who.name, who.challenger, f"{DECISION}_run", run_id)
        serving = who.challenger if verdict.wins else who.champion
        if serving and judgement.beaten_bundled:
            client.set_model_version_tag(who.name, serving, BEATS_BUNDLED, judgement.beaten_bundled)
        elif serving and BEATS_BUNDLED in client.get_model_version(who.name, serving).tags:
            client.delete_model_version_tag(who.name, serving, BEATS_BUNDLED)
        if verdict.wins:
            _crown(client, who)
    return run_id


def roll_back(name: str) -> tuple[str, str]:
    """Give the alias back to the version that had it before; returns (version that lost it, version that has it).

    Raises:
        SettingError: there is no champion, or none before it.
        RegistrationError: the registry refused or did not answer.
    """
    with tracker_trouble(RegistrationError, f"{name} could not be rolled back"):
        client = connect(create=False)
        champion = client.get_registered_model(name).aliases.get(CHAMPION)
        if champion is None:
            raise SettingError(f"{name} has no champion.")
        former = client.get_model_version(name, str(champion)).tags.get(FORMER)
        if former is None:
            raise SettingError(f"{name} version {champion} is the first champion; there is none to go back to.")
        client.set_registered_model_alias(name, CHAMPION, former)
    return str(champion), str(former)


def _crown(client: "MlflowClient", who: Contestants) -> None:
    now = client.get_registered_model(who.name).aliases.get(CHAMPION)
    if (str(now) if now else None) != who.champion:
        raise RegistrationError(
            f"While {who.name} version {who.challenger} was judged, version {now or 'none'} became champion in the "
            f"place of {who.champion or 'none'}. Nothing was moved; promote again, against the new champion."
        )
    if who.champion:
        client.set_model_version_tag(who.name, who.challenger, FORMER, who.champion)
    client.set_registered_model_alias(who.name, CHAMPION, who.challenger)


def _flat(verdict: Verdict) -> dict[str, Any]:
    groups = {each.name: each.psnr_db for each in verdict.groups}
    return asdict(verdict) | {"groups": groups, "reasons": "; ".join(verdict.reasons) or "none"}
