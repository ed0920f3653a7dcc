"""``deblur teach SOURCES OUT --teacher T``: a teacher's answers to pairs, saved, so that training needs no teacher."""

import os
from pathlib import Path
from typing import Annotated

import tyro

from deblur.cli.console import long_work, say
from deblur.errors import SettingError
from deblur.files import pasteable


def teach(
    places: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SOURCE [SOURCE ...] OUT")],
    teacher: str,
    device: str = "auto",
    blur_gamma: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    average: int | None = None,
) -> int:
    """Save a teacher's answers to pairs, so that a student trains without the teacher.

    The teacher restores the blurry images, whole, into the folder OUT. 'deblur train --teacher OUT' then trains with
    them. The same command, given again, goes on where it was interrupted, and makes what is missing after pairs were
    added or changed.

    Args:
        places: Folders of pairs or frames:FOLDER, as --train_data of 'deblur train'; and last the folder for the
            answers, a new or empty one, or one that this command began.
        teacher: The model that answers: a model folder, models:/NAME@ALIAS, a training's output folder, a checkpoint,
            or official weights.
        device: Where the teacher runs: cpu, cuda, cuda:1, mps, or auto, which takes a GPU if there is one.
        blur_gamma: Take GoPro's blur_gamma/ instead of blur/, and average frames in linear light. Give it if the
            training has it.
        average: Number of frames that are averaged into a blurry one, as in the training; by default 7.
    """
    from deblur.data.sources import Reading, open_sources
    from deblur.data.teaching import check_teachable, teach
    from deblur.training.device import pick_device
    from deblur.training.teacher import find_teacher

    if len(places) < 2:
        raise SettingError("Give folders of pairs, and last the folder for the answers.")
    *sources, last = places
    out, opened = Path(last), open_sources(sources, Reading(blur_gamma, average))
    for source in opened:
        check_teachable(source)
        if source.name.path and Path(os.path.abspath(out)).is_relative_to(source.name.path):
            raise SettingError(f"{out} lies in {source.name.path}, and would become a part of it. Give another place.")
    found = find_teacher(teacher)
    restorer = found.restorer(pick_device(device))
    pairs = [pair for source in opened for pair in source.pairs]
    with long_work() as tell:
        made = teach(
            pairs,
            out,
            restorer,
            found.sha256,
            lambda done, count, px, total_px: tell(f"{done} of {count} answers", px, total_px),
        )
    say(f"{len(pairs)} pairs have answers, {made} of them made now. Train with --teacher {pasteable(out)}")
    return 0
