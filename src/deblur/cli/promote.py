"""``deblur promote``: the challenger takes the champion's place where it is better, with evidence, or does not."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from deblur.cli.console import counted, say, show
from deblur.cli.outputs import check_outputs
from deblur.errors import SettingError

if TYPE_CHECKING:
    from deblur.evaluation.contest import Verdict
    from deblur.registry.promotion import Contestants


def promote(
    name: tyro.conf.Positional[str],
    data: tuple[str, ...] = (),
    version: str | None = None,
    scenes: Path | None = None,
    margin: float = 0.05,
    by_image: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    allow_slower: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    new_sets: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    rollback: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    cache: Path | None = None,
    html: Path | None = None,
) -> int:
    """Make a registered version the champion, if it scores better than the one before.

    Challenger and champion are scored on pairs that chose neither of them. The challenger wins where the lower bound of
    the paired difference (95 %, by scene) is above the margin, no group (weak blur, sharp photographs, each set) loses
    more than 0.1 dB, and it is not more than 1.1 times as slow. A first champion must surely gain over the blurry
    input. Decision, figures and report are kept in MLflow.

    Exit code 0: it wins, or was rolled back; 1: it does not.

    Args:
        name: Name of the registered model.
        data: What to score on, 20 pairs or more in all: folders of pairs, frames:FOLDER, promotion:FOLDER (the part of
            a training's folder that is kept for this), or photos:FOLDER for sharp photographs.
        version: Number of the version that may become champion; by default the one with the alias @challenger.
        scenes: File with lines NAME,SCENE, which say what scene an image is of; by default an image's folder, or its
            name without the number, is its scene.
        margin: What the lower bound of the difference must exceed, in dB.
        by_image: Take the interval over images, not over scenes. It is too narrow where images are alike.
        allow_slower: Let the challenger win although it is slower.
        new_sets: Allow other sets than those of the last decision.
        dry_run: Print the decision, but move no alias and keep nothing in MLflow.
        rollback: Give @champion back to the version that had it before.
        cache: Folder with the frames and flows of films that a training kept (its --cache); by default the user's
            cache.
        html: Write the report to this file, too.
    """
    from deblur.data.report_sets import open_report_sets
    from deblur.evaluation.contest import Rules
    from deblur.evaluation.report import write_report
    from deblur.evaluation.tables import verdict_listing
    from deblur.files import write_json
    from deblur.inference.locating import bundled_model
    from deblur.registry.promotion import carry_out, check_sets, contestants, judge, roll_back

    check_outputs(html)
    rules = Rules(margin, by_image, allow_slower)
    if rollback and dry_run:
        raise SettingError("--rollback moves @champion and --dry-run moves nothing. Give one of them.")
    if rollback:
        lost, has = roll_back(name)
        say(f"{name}: version {has} is champion again, version {lost} no longer.")
        return 0
    if not data:
        raise SettingError("--data is needed: pairs that selected neither model, 20 or more.")
    who = contestants(name, version)
    folders, sets = who.fetched(), open_report_sets(data, scenes, cache)
    check_sets(name, folders, sets, new_sets=new_sets)
    with counted(sets) as on_done:
        judgement = judge(folders, sets, rules, on_done)
    verdict = judgement.verdict
    show([verdict_listing(verdict, judgement.memory_mb).for_terminal()])
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / "evaluation.json", Path(scratch) / "evaluation.html"]
        write_json(files[0], judgement.evaluation.as_json())
        write_report(files[1], judgement.evaluation, sets, judgement.ways, verdict=verdict)
        if html:
            html.write_bytes(files[1].read_bytes())
        if not dry_run:
            run_id = carry_out(who, judgement, sets, files)
            say(f"the decision is kept in MLflow, run {run_id}")
    say(_said(who, verdict, dry_run))
    if dry_run:
        return 0 if verdict.wins else 1
    if judgement.beaten_bundled:
        say("the champion has beaten the bundled model: a plain 'deblur restore' uses it")
    elif verdict.wins and bundled_model():
        say("the bundled model is not surely worse on this data, so a plain 'deblur restore' goes on with it")
    return 0 if verdict.wins else 1


def _said(who: "Contestants", verdict: "Verdict", dry_run: bool) -> str:
    stays = f"version {who.champion} stays champion" if who.champion else "there is no champion"
    if not verdict.wins:
        return f"{who.name} version {who.challenger} does not win; {stays}: {'; '.join(verdict.reasons)}."
    if dry_run:
        return f"{who.name} version {who.challenger} would become champion; nothing was moved."
    return f"{who.name} version {who.challenger} is champion now."
