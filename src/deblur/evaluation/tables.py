"""An evaluation in words and tables, for a terminal and for the report."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rich.console import RenderableType
from rich.table import Column, Table

from deblur.evaluation.contest import Verdict
from deblur.evaluation.evaluation import Evaluation
from deblur.evaluation.measuring import Figures, Measured
from deblur.evaluation.summary import Bins, Difference, Group, Kept, Summary
from deblur.interval import Interval

NAMED = 3
Row = list[str]


@dataclass(frozen=True)
class Listing:
    """A table before it is drawn: rows in parts, with a line between them; the first part may be faint or bold."""

    title: str
    heads: Row
    parts: list[list[Row]]
    first: str = ""

    def for_terminal(self) -> Table:
        """The same, drawn by rich."""
        heads = [Column(head, overflow="fold") for head in self.heads]
        table = Table(*heads, title=self.title, title_justify="left")
        for number, part in enumerate(self.parts):
            for row in part:
                table.add_row(*row, style="" if number else self.first)
            table.add_section()
        return table


def tables_of(evaluation: Evaluation, price: float | None, memory_gb: float) -> Iterator[RenderableType]:
    """Tables and lines for a terminal, the most important first.

    ``price`` is of a GB-second, in any currency (None leaves cost out), ``memory_gb`` what a machine of this speed has.
    """
    found = [*score_listings(evaluation, price, memory_gb), *gain_listings(evaluation)[:1]]
    yield from (each if isinstance(each, str) else each.for_terminal() for each in found)
    yield from tile_lines(evaluation)
    first = evaluation.ways[0].name
    if told := [f"{row.set} {row.name} {row.gain_db:+.2f}" for row in evaluation.worst(first)[:NAMED]]:
        yield f"least gained by {first}, dB: {', '.join(told)}"


def score_listings(evaluation: Evaluation, price: float | None, memory_gb: float) -> Iterator[Listing | str]:
    """Each set of pairs, all ways beside doing nothing (a sentence, where nothing can be gained); what becomes of sharp
    photographs; and models against each other."""
    for facts in evaluation.sets:
        of_set = [each for each in evaluation.summaries if each.set == facts.name]
        about = f"{facts.name}: {facts.images} images, set {facts.fingerprint}"
        if of_set:
            yield _scores(of_set, about, price, memory_gb)
        elif not facts.sharp:
            yield f"{about}: blurry and sharp are the same in all pairs; nothing can be gained."
    if evaluation.kept:
        yield _kept(evaluation.kept)
    if evaluation.differences:
        yield _differences(evaluation.differences)


def gain_listings(evaluation: Evaluation) -> list[Listing]:
    """Gains of the models by kind of image: as they come, and after one shift."""
    if not evaluation.bins:
        return []
    return [
        _bins("gains by blur, size and scene, dB [95 %]", evaluation.bins, lambda group: group.gain_db),
        _bins("the same gains after one shift, dB [95 %]", evaluation.bins, lambda group: group.shifted_gain_db),
    ]


def _scores(summaries: list[Summary], about: str, price: float | None, memory_gb: float) -> Listing:
    first = summaries[0]
    heads = ["", "PSNR dB", "gain dB [95 %]", "after one shift", "least", "SSIM", "MS-SSIM", "gradient"]
    heads += ["LPIPS"] * (first.restored.lpips is not None) + ["s", "s/MP"]
    heads += [f"per 1000 at {memory_gb:g} GB"] * (price is not None)
    left_out = f"; {first.left_out} with nothing to gain left out" if first.left_out else ""
    drawn = f"; intervals over {first.gain_db.groups} {first.gain_db.by}"
    nothing = ["do nothing", f"{first.blurry.psnr_db:.2f}", "", "", "", *_likeness(first.blurry)]
    nothing += [""] * (len(heads) - len(nothing))
    rows = []
    for each in summaries:
        cells = [each.way, f"{each.restored.psnr_db:.2f}", str(each.gain_db), _or_dash(each.shifted_gain_db)]
        cells += [f"{each.least_gain_db:+.2f}", *_likeness(each.restored)]
        cells += [f"{each.seconds:.2f}", f"{each.seconds_per_megapixel:.2f}"]
        cells += [f"{1000 * each.seconds * memory_gb * price:.4f}"] if price is not None else []
        rows.append(cells)
    return Listing(about + left_out + drawn, heads, [[nothing], rows], first="dim")


def _likeness(found: Figures) -> Row:
    lpips = [] if found.lpips is None else [f"{found.lpips:.4f}"]
    return [f"{found.ssim:.4f}", f"{found.ms_ssim:.4f}", f"{found.gradient:.2f}", *lpips]


def _kept(found: list[Kept]) -> Listing:
    rows = []
    for each in found:
        figures = [f"{each.psnr_db:.1f}", f"{each.least_psnr_db:.1f}", each.least, f"{each.seconds_per_megapixel:.2f}"]
        rows.append([each.way, each.set, str(each.images), *figures])
    title = "sharp photographs, restored against themselves: every change is a harm"
    return Listing(title, ["", "set", "n", "PSNR dB", "least", "of", "s/MP"], [rows])


def _differences(found: list[Difference]) -> Listing:
    rows = [[each.way, each.than, each.set, str(each.psnr_db), _or_dash(each.shifted_psnr_db)] for each in found]
    heads = ["", "minus", "set", "as they come", "after one shift"]
    return Listing("paired differences of PSNR, dB [95 %]", heads, [rows])


def _bins(title: str, found: list[Bins], interval: Callable[[Group], Interval | None]) -> Listing:
    parts = []
    for by in dict.fromkeys(bins.by for bins in found):
        of_ways = zip(*(bins.groups for bins in found if bins.by == by), strict=True)
        told = [same for same in of_ways if by != "scene" or same[0].images > 1]  # one image is no group
        parts.append([[f"{same[0].name} ({same[0].images})", *(_or_dash(interval(g)) for g in same)] for same in told])
    return Listing(title, ["", *dict.fromkeys(bins.way for bins in found)], [part for part in parts if part])


def _or_dash(interval: Interval | None) -> str:
    """What a table shows where an image was too small to be shifted."""
    return "-" if interval is None else str(interval)


def worst_listing(rows: list[Measured]) -> Listing:
    """Pairs that one way gains least on."""
    cells = []
    for row in rows:
        shifted = "-" if row.shifted_gain_db is None else f"{row.shifted_gain_db:+.2f}"
        figures = [f"{row.blurry.psnr_db:.2f}", f"{row.restored.psnr_db:.2f}", f"{row.blur_px:.1f}"]
        cells.append([row.name, row.set, f"{row.gain_db:+.2f}", shifted, *figures])
    heads = ["", "set", "gain dB", "after one shift", "PSNR before", "PSNR after", "blur px"]
    return Listing(f"least gained by {rows[0].way}", heads, [cells])


def tile_lines(evaluation: Evaluation) -> list[str]:
    """What each model's tiles change in the largest image of each set, where it takes several."""
    lines = []
    for facts in evaluation.tiled:
        tiled = facts.tiled
        same = "the same bits as the whole image" if tiled.psnr_db == 100 else f"{tiled.psnr_db:.1f} dB from the whole"
        seams = f"seam ratio {tiled.seam_ratio:.3f}, drift {tiled.drift_levels:.2f} levels"
        if tiled.tiles > 1:
            lines.append(f"{facts.way}, {facts.set} {facts.name}: {tiled.tiles} tiles, {same}, {seams}")
    return lines


def verdict_listing(verdict: Verdict, memory_mb: Mapping[str, float] = MappingProxyType({})) -> Listing:
    """The decision, and the groups that it rests on; and what a process took, by way, where that was measured."""
    drawn = f"all pairs, 95 % over {verdict.difference_db.groups} {verdict.difference_db.by}"
    rows = [[f"{each.name} ({each.images})", f"{each.psnr_db:+.3f}"] for each in verdict.groups]
    if verdict.slowness:
        rows.append(["seconds, challenger over champion", f"{verdict.slowness:.3f}"])
    memory = [[f"peak memory of {name}, MB", f"{value:.0f}"] for name, value in memory_mb.items()]
    parts = [[[drawn, f"{verdict.difference_db:+.3f}"]], *filter(None, (rows, memory))]
    title = f"{verdict.challenger} against {verdict.against}, {verdict.images} pairs"
    heads = ["", f"PSNR dB, minus that of {verdict.against}"]
    return Listing(title, heads, parts, first="bold")
