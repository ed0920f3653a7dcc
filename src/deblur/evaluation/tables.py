"""An evaluation in words and tables, for a terminal and for the report."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from rich.console import RenderableType
from rich.table import Column, Table

from deblur.evaluation.contest import Verdict
from deblur.evaluation.evaluation import Evaluation, TiledFacts
from deblur.evaluation.measuring import Measured
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
    """Tables and lines, the most important first.

    Args:
        evaluation: what was measured.
        price: of a GB-second, in any currency; None leaves cost out.
        memory_gb: that a machine with this speed has.
    """
    listings = [
        *score_listings(evaluation, price, memory_gb),
        *harm_listings(evaluation),
        *gain_listings(evaluation)[:1],
    ]
    yield from (each if isinstance(each, str) else each.for_terminal() for each in listings)
    yield from (tiles_line(facts) for facts in evaluation.tiled if facts.tiled.tiles > 1)
    for way in evaluation.ways[:1]:
        told = [f"{row.set} {row.name} {row.gain_db:+.2f}" for row in evaluation.worst(way.name)[:NAMED]]
        if told:
            yield f"least gained by {way.name}, dB: {', '.join(told)}"


def score_listings(evaluation: Evaluation, price: float | None, memory_gb: float) -> Iterator[Listing | str]:
    """Each set of pairs: all ways beside doing nothing. A sentence, where nothing can be gained."""
    for facts in evaluation.sets:
        of_set = [each for each in evaluation.summaries if each.set == facts.name]
        about = f"{facts.name}: {facts.images} images, set {facts.fingerprint}"
        if of_set:
            yield _scores(of_set, about, price, memory_gb)
        elif not facts.sharp:
            yield f"{about}: blurry and sharp are the same in all pairs; nothing can be gained."


def harm_listings(evaluation: Evaluation) -> Iterator[Listing]:
    """What becomes of sharp photographs, and models against each other."""
    if evaluation.kept:
        yield _kept(evaluation.kept)
    if evaluation.differences:
        yield _differences(evaluation.differences)


def gain_listings(evaluation: Evaluation) -> list[Listing]:
    """Gains by kind of image: as they come, and after one shift."""
    if not evaluation.bins:
        return []
    return [
        _bins("gains by blur, size and scene, dB [95 %]", evaluation.bins, lambda group: group.gain_db),
        _bins("the same gains after one shift, dB [95 %]", evaluation.bins, lambda group: group.shifted_gain_db),
    ]


def _scores(summaries: list[Summary], about: str, price: float | None, memory_gb: float) -> Listing:
    first = summaries[0]
    heads = ["", "PSNR dB", "gain dB [95 %]", "after one shift", "least", "SSIM", "MS-SSIM", "gradient"]
    heads += (
        ["LPIPS"] * (first.lpips is not None) + ["s", "s/MP"] + [f"per 1000 at {memory_gb:g} GB"] * (price is not None)
    )
    left_out = f"; {first.left_out} with nothing to gain left out" if first.left_out else ""
    drawn = f"; intervals over {first.gain_db.groups} {first.gain_db.by}"
    nothing = ["do nothing", f"{first.psnr_input_db:.2f}", "", "", "", f"{first.ssim_input:.4f}"]
    nothing += [f"{first.ms_ssim_input:.4f}", f"{first.gradient_input:.2f}", *_lpips(first.lpips_input)]
    nothing += [""] * (len(heads) - len(nothing))
    rows = []
    for each in summaries:
        cells = [each.way, f"{each.psnr_db:.2f}", str(each.gain_db), or_dash(each.shifted_gain_db)]
        cells += [f"{each.least_gain_db:+.2f}", f"{each.ssim:.4f}", f"{each.ms_ssim:.4f}", f"{each.gradient:.2f}"]
        cells += [*_lpips(each.lpips), f"{each.seconds:.2f}", f"{each.seconds_per_megapixel:.2f}"]
        cells += [f"{cost_of_1000(each.seconds, memory_gb, price):.4f}"] if price is not None else []
        rows.append(cells)
    return Listing(about + left_out + drawn, heads, [[nothing], rows], first="dim")


def _lpips(value: float | None) -> Row:
    return [] if value is None else [f"{value:.4f}"]


def cost_of_1000(seconds: float, memory_gb: float, price: float) -> float:
    """Of as many images, each taking so long on a machine with so much memory, at ``price`` a GB-second."""
    return 1000 * seconds * memory_gb * price


def _kept(found: list[Kept]) -> Listing:
    rows = []
    for each in found:
        figures = [f"{each.psnr_db:.1f}", f"{each.least_psnr_db:.1f}", each.least, f"{each.seconds_per_megapixel:.2f}"]
        rows.append([each.way, each.set, str(each.images), *figures])
    title = "sharp photographs, restored against themselves: every change is a harm"
    return Listing(title, ["", "set", "n", "PSNR dB", "least", "of", "s/MP"], [rows])


def _differences(found: list[Difference]) -> Listing:
    rows = [[each.way, each.than, each.set, str(each.psnr_db), or_dash(each.shifted_psnr_db)] for each in found]
    return Listing(
        "paired differences of PSNR, dB [95 %]", ["", "minus", "set", "as they come", "after one shift"], [rows]
    )


def _bins(title: str, found: list[Bins], interval: Callable[[Group], Interval | None]) -> Listing:
    parts = []
    for by in dict.fromkeys(bins.by for bins in found):
        of_ways = zip(*(bins.groups for bins in found if bins.by == by), strict=True)
        told = [same for same in of_ways if by != "scene" or same[0].images > 1]  # one image is no group
        parts.append([[f"{same[0].name} ({same[0].images})", *(or_dash(interval(g)) for g in same)] for same in told])
    parts = [part for part in parts if part]
    return Listing(title, ["", *dict.fromkeys(bins.way for bins in found)], parts)


def worst_listing(rows: list[Measured]) -> Listing:
    """Pairs that one way gains least on."""
    cells = []
    for row in rows:
        gains = [f"{row.gain_db:+.2f}", "-" if row.shifted_gain_db is None else f"{row.shifted_gain_db:+.2f}"]
        cells.append(
            [
                row.name,
                row.set,
                *gains,
                f"{row.blurry.psnr_db:.2f}",
                f"{row.restored.psnr_db:.2f}",
                f"{row.blur_px:.1f}",
            ]
        )
    heads = ["", "set", "gain dB", "after one shift", "PSNR before", "PSNR after", "blur px"]
    return Listing(f"least gained by {rows[0].way}", heads, [cells])


def tiles_line(facts: TiledFacts) -> str:
    """What a model's tiles change in the largest image of a set."""
    tiled = facts.tiled
    told = f"{facts.way}, {facts.set} {facts.name}: "
    if tiled.tiles == 1:
        return f"{told}one tile, nothing to compare"
    same = "the same bits as the whole image" if tiled.psnr_db == 100 else f"{tiled.psnr_db:.1f} dB from the whole"
    return (
        f"{told}{tiled.tiles} tiles, {same}, seam ratio {tiled.seam_ratio:.3f}, drift {tiled.drift_levels:.2f} levels"
    )


def table_of_verdict(verdict: Verdict, memory_mb: Mapping[str, float]) -> Table:
    """The decision, and the groups that it rests on."""
    listing = verdict_listing(verdict)
    memory = [[f"peak memory of {name}, MB", f"{value:.0f}"] for name, value in memory_mb.items()]
    return replace(listing, parts=[*listing.parts, memory]).for_terminal()


def verdict_listing(verdict: Verdict) -> Listing:
    """The same, without memory."""
    drawn = f"all pairs, 95 % over {verdict.difference_db.groups} {verdict.difference_db.by}"
    rows = [[f"{each.name} ({each.images})", f"{each.psnr_db:+.3f}"] for each in verdict.groups]
    if verdict.slowness:
        rows.append(["seconds, challenger over champion", f"{verdict.slowness:.3f}"])
    return Listing(
        f"{verdict.challenger} against {verdict.against}, {verdict.images} pairs",
        ["", f"PSNR dB, minus that of {verdict.against}"],
        [[[drawn, f"{verdict.difference_db:+.3f}"]], rows],
        first="bold",
    )


def or_dash(interval: Interval | None) -> str:
    """What a table shows where an image was too small to be shifted."""
    return "-" if interval is None else str(interval)
