"""An evaluation in words and tables, for a terminal."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table

from deblur.evaluation.contest import Verdict
from deblur.evaluation.evaluation import Evaluation, TiledFacts
from deblur.evaluation.statistics import Interval
from deblur.evaluation.summary import Bins, Difference, Kept, Summary

NAMED = 3


def tables_of(evaluation: Evaluation, price: float | None, memory_gb: float) -> Iterator[RenderableType]:
    """Tables and lines, the most important first.

    Args:
        evaluation: what was measured.
        price: of a GB-second, in any currency; None leaves cost out.
        memory_gb: that a machine with this speed has.
    """
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
    if evaluation.bins:
        yield _bins(evaluation.bins)
    yield from map(_tiled, evaluation.tiled)
    for way in evaluation.ways[:1]:
        told = [f"{row.set} {row.name} {row.gain_db:+.2f}" for row in evaluation.worst(way.name)[:NAMED]]
        if told:
            yield f"least gained by {way.name}, dB: {', '.join(told)}"


def _scores(summaries: list[Summary], about: str, price: float | None, memory_gb: float) -> Table:
    first = summaries[0]
    heads = ["", "PSNR dB", "gain dB [95 %]", "after one shift", "least", "SSIM", "MS-SSIM"]
    heads += (
        ["LPIPS"] * (first.lpips is not None) + ["s", "s/MP"] + [f"per 1000 at {memory_gb:g} GB"] * (price is not None)
    )
    left_out = f"; {first.left_out} with nothing to gain left out" if first.left_out else ""
    drawn = f"; intervals over {first.gain_db.groups} {first.gain_db.by}"
    table = Table(*heads, title=about + left_out + drawn, title_justify="left")
    nothing = ["do nothing", f"{first.psnr_input_db:.2f}", "", "", "", f"{first.ssim_input:.4f}"]
    nothing += [f"{first.ms_ssim_input:.4f}", *_lpips(first.lpips_input)]
    table.add_row(*nothing, style="dim")
    for each in summaries:
        cells = [each.way, f"{each.psnr_db:.2f}", str(each.gain_db), _or_dash(each.shifted_gain_db)]
        cells += [f"{each.least_gain_db:+.2f}", f"{each.ssim:.4f}", f"{each.ms_ssim:.4f}"]
        cells += [*_lpips(each.lpips), f"{each.seconds:.2f}", f"{each.seconds_per_megapixel:.2f}"]
        cells += [f"{cost_of_1000(each.seconds, memory_gb, price):.4f}"] if price is not None else []
        table.add_row(*cells)
    return table


def _lpips(value: float | None) -> list[str]:
    return [] if value is None else [f"{value:.4f}"]


def cost_of_1000(seconds: float, memory_gb: float, price: float) -> float:
    """Of as many images, each taking so long on a machine with so much memory, at ``price`` a GB-second."""
    return 1000 * seconds * memory_gb * price


def _kept(found: list[Kept]) -> Table:
    title = "sharp photographs, restored against themselves: every change is a harm"
    table = Table("", "set", "n", "PSNR dB", "least", "of", "s/MP", title=title, title_justify="left")
    for each in found:
        figures = [f"{each.psnr_db:.1f}", f"{each.least_psnr_db:.1f}", each.least, f"{each.seconds_per_megapixel:.2f}"]
        table.add_row(each.way, each.set, str(each.images), *figures)
    return table


def _differences(found: list[Difference]) -> Table:
    title = "paired differences of PSNR, dB [95 %]"
    table = Table("", "minus", "set", "as they come", "after one shift", title=title, title_justify="left")
    for each in found:
        table.add_row(each.way, each.than, each.set, str(each.psnr_db), _or_dash(each.shifted_psnr_db))
    return table


def _bins(found: list[Bins]) -> Table:
    table = Table("gain dB [95 %]", *dict.fromkeys(bins.way for bins in found), title_justify="left")
    ways = list(dict.fromkeys(bins.way for bins in found))
    for by in dict.fromkeys(bins.by for bins in found):
        of_ways = {bins.way: bins.groups for bins in found if bins.by == by}
        for number, first in enumerate(of_ways[ways[0]]):
            cells = [str(of_ways[way][number].gain_db) for way in ways]
            table.add_row(f"{first.name} ({first.images})", *cells)
        table.add_section()
    return table


def _tiled(facts: TiledFacts) -> str:
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
    title = f"{verdict.challenger} against {verdict.against}, {verdict.images} pairs"
    table = Table("", "PSNR dB, challenger minus champion", title=title, title_justify="left")
    drawn = f"all pairs, 95 % over {verdict.difference_db.groups} {verdict.difference_db.by}"
    table.add_row(drawn, f"{verdict.difference_db.mean:+.3f} {_bounds(verdict.difference_db)}", style="bold")
    for each in verdict.groups:
        table.add_row(f"{each.name} ({each.images})", f"{each.psnr_db:+.3f}")
    if verdict.slowness:
        table.add_row("seconds, challenger over champion", f"{verdict.slowness.mean:.3f} {_bounds(verdict.slowness)}")
    for name, value in memory_mb.items():
        table.add_row(f"peak memory of {name}, MB", f"{value:.0f}")
    return table


def _bounds(interval: Interval) -> str:
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def _or_dash(interval: Interval | None) -> str:
    return "-" if interval is None else str(interval)
