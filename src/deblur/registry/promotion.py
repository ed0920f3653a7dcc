"""``@champion`` moves only with evidence: challenger, champion and the bundled model on one frozen set, and what came
of it, kept where the versions are."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblur.data.report_sets import ReportSet
from deblur.errors import ModelError, RegistrationError, SettingError
from deblur.evaluation.contest import Rules, Verdict
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

    def uri(self, version: str) -> str:
        """As ``fetch`` takes it."""
        return f"models:/{self.name}/{version}"


def contestants(name: str, challenger: str | None = None) -> Contestants:
    """Who stands against whom.

    Args:
        name: of the registered model.
        challenger: a version; by default the alias's.

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
    """Refuse sets that cannot decide: those that selected a contestant, and others than the last decision's.

    Args:
        name: of the registered model.
        folders: of the contestants.
        sets: that will decide.
        new_sets: whether others than the last decision's may.

    Raises:
        SettingError: it says which set, and why.
        ModelError: the registry fails.
    """
    from deblur.inference.model_folder import read_info

    selected = {read_info(folder).scored_on for folder in folders}
    for each in sets:
        if each.fingerprint in selected:
            raise SettingError(
                f"{each.name} selected the checkpoint of a contestant, so it says too much good of it. Name a set that "
                "no training has seen."
            )
    with tracker_trouble(ModelError, f"{name} cannot be looked up in the registry"):
        earlier = connect(create=False).get_registered_model(name).tags.get(SETS)
    if earlier and earlier != fingerprints(sets) and not new_sets:
        raise SettingError(
            f"The last decision on {name} was made on the sets {earlier}; these are {fingerprints(sets)}. Name the same "
            "data, or set new_sets if a new measure begins."
        )


def fingerprints(sets: Sequence[ReportSet]) -> str:
    """Of all sets, in an order of their own."""
    return " ".join(sorted(each.fingerprint for each in sets))


def carry_out(
    who: Contestants,
    verdict: Verdict,
    sets: Sequence[ReportSet],
    figures: dict[str, Any],
    files: Sequence[Path],
    bundled_sha256: str | None,
) -> str:
    """Move the alias where the challenger wins, and keep decision, figures and files in the registry; returns the run.

    The alias moves last: what it rests on is there already.

    Args:
        who: challenger and champion.
        verdict: the decision.
        sets: it rests on.
        figures: of the run.
        files: its artifacts.
        bundled_sha256: of the bundled model, where the new champion, or the one that stays, is surely better.

    Raises:
        RegistrationError: the registry refused or did not answer.
    """
    told = "wins" if verdict.wins else "does not win"
    run_id = log_benchmark(f"promote {who.name} {who.challenger}: {told}", figures | {"verdict": _flat(verdict)}, files)
    with tracker_trouble(RegistrationError, f"The decision on {who.name} could not be kept in the registry"):
        client = connect()
        client.set_registered_model_tag(who.name, SETS, fingerprints(sets))
        interval = f"{verdict.difference_db} dB against {verdict.against}"
        said = f"{told}: {interval}" + (f"; {'; '.join(verdict.reasons)}" if verdict.reasons else "")
        client.set_model_version_tag(who.name, who.challenger, DECISION, said)
        client.set_model_version_tag(who.name, who.challenger, f"{DECISION}_run", run_id)
        serving = who.challenger if verdict.wins else who.champion
        if serving and bundled_sha256:
            client.set_model_version_tag(who.name, serving, BEATS_BUNDLED, bundled_sha256)
        if verdict.wins:
            _crown(client, who.name, who.challenger, who.champion)
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


def _crown(client: "MlflowClient", name: str, version: str, former: str | None) -> None:
    if former:
        client.set_model_version_tag(name, version, FORMER, former)
    client.set_registered_model_alias(name, CHAMPION, version)


def _flat(verdict: Verdict) -> dict[str, Any]:
    groups = {each.name: each.psnr_db for each in verdict.groups}
    return asdict(verdict) | {"groups": groups, "reasons": "; ".join(verdict.reasons) or "none"}


def open_contestants(who: Contestants) -> list[Path]:
    """The folders of challenger and champion, fetched."""
    versions = [who.challenger, *([who.champion] if who.champion else [])]
    return [fetch(who.uri(version)) for version in versions]


def promote_command(name: str) -> str:
    """What a person gives to let the challenger try."""
    return f"deblur promote {shlex.quote(name)} --data SET"
