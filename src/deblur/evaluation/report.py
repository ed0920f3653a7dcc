"""An evaluation as one page for everybody: what it says in a sentence, all tables, plots, and pictures to compare.

The file needs nothing else: styles, one small script and pictures are inside, and its policy lets a browser load
nothing from elsewhere. The same evaluation gives the same bytes.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from types import MappingProxyType

from deblur.data.report_sets import ReportSet
from deblur.evaluation.contest import Verdict
from deblur.evaluation.evaluation import CONVENTIONS, Evaluation
from deblur.evaluation.examples import Example, examples
from deblur.evaluation.measuring import MOST_SHIFT_PX, Measured
from deblur.evaluation.plots import COLOURS, plots_of
from deblur.evaluation.tables import (
    Listing,
    Row,
    gain_listings,
    score_listings,
    tile_lines,
    verdict_listing,
    worst_listing,
)
from deblur.evaluation.ways import Way
from deblur.files import write_whole
from deblur.interval import Interval

PICTURES_BYTES = 8_000_000
"""After so much, no more pictures are shown: the page must open on a phone."""
SETS_SAID, HASH_DIGITS = 3, 12
TWICE = (
    "Every gain is told twice: as the images come, and after the one shift of the whole image, of at most "
    f"{MOST_SHIFT_PX} px, that fits best, for result and input alike; for an image that lies a pixel beside its "
    "reference loses much PSNR, though nobody would see it."
)
INTERVALS = (
    "Brackets hold the true mean with 95 %. Fewer than five images are too few for them. Where they are drawn over "
    "images, not over scenes, they are too narrow if the images are alike."
)
NUMBER = re.compile(r"[-+]?[\d.]+( \[.*\])?|-?")
Links = Mapping[tuple[str, ...], str]


def write_report(
    file: Path,
    evaluation: Evaluation,
    sets: Sequence[ReportSet],
    ways: Sequence[Way],
    *,
    price: float | None = None,
    memory_gb: float = 2.0,
    verdict: Verdict | None = None,
    warnings: Sequence[str] = (),
    on_picture: Callable[[str], None] = lambda name: None,
) -> None:
    """One HTML file about an evaluation of these sets and ways; the first way restores some pictures once more.

    ``price`` and ``memory_gb`` are as in :func:`~deblur.evaluation.tables.tables_of`; ``verdict`` is of a contest that
    rests on this evaluation; ``warnings`` stand below the first lines; ``on_picture`` is told the name of each image
    that is shown.
    """
    title = f"{' and '.join(evaluation.models) or evaluation.ways[0].name}, evaluated"
    shown = list(_shown(evaluation, sets, ways[0], on_picture))
    links: Links = {(example.row.name, example.row.set): f"picture-{number}" for number, example in enumerate(shown)}
    listings = [*score_listings(evaluation, price, memory_gb), *gain_listings(evaluation)]
    if worst := evaluation.worst(evaluation.ways[0].name):
        listings.append(worst_listing(worst))
    parts = [
        f"<header><h1>{escape(title)}</h1>",
        *(f'<p class="lead">{escape(said)}</p>' for said in [*result(evaluation), *warnings]),
        *(_verdict(verdict) if verdict else ()),
        '<nav><a href="#compared">What was compared</a><a href="#figures">Figures</a><a href="#pictures">Pictures</a>'
        '<a href="#plots">Plots</a></nav></header><main>',
        *_compared(evaluation),
        '<section id="figures"><h2>Figures</h2>',
        f"<p>{TWICE}</p><p>{INTERVALS}</p>",
        *(_drawn(each, links) for each in listings),
        *(f"<p>{escape(line)}</p>" for line in tile_lines(evaluation)),
        "</section>",
        *_pictures(shown, evaluation),
        *_plots(evaluation),
        "</main>",
    ]
    write_whole(file, _page(title, "\n".join(parts)).encode("utf-8", "replace"))


def _page(title: str, body: str) -> str:
    """Of the template, whose one script is the only one that its policy allows."""
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return Template(template).substitute(title=escape(title), policy=policy, body=body)


def result(evaluation: Evaluation) -> list[str]:
    """What the first way does, a sentence a set, and how it compares with other models."""
    name = evaluation.ways[0].name
    gains = [each for each in evaluation.summaries if each.way == name]
    said, count = [], len(gains) if len(gains) == SETS_SAID + 1 else SETS_SAID  # "one more set" would say no less
    for each in gains[:count]:
        verb = "loses PSNR," if each.gain_db.high < 0 else "gains"
        after = f"; after one global shift {each.shifted_gain_db.mean:+.2f}" if each.shifted_gain_db else ""
        gain = f"{each.gain_db} dB over the blurry input on {each.set}{_unsure(each.gain_db)}{after}"
        said.append(f"{name} {verb} {gain}.")
    if more := [each.gain_db.mean for each in gains[count:]]:
        said.append(f"On {len(more)} more sets it gains {min(more):+.2f} to {max(more):+.2f} dB.")
    said += [
        f"Compared with {each.than} on {each.set}: {each.psnr_db} dB{_unsure(each.psnr_db)}."
        for each in evaluation.differences[:SETS_SAID]
    ]
    said += [
        f"Sharp photographs ({each.set}), which should stay as they are, come back with {each.psnr_db:.1f} dB against "
        f"themselves, the one that is harmed most with {each.least_psnr_db:.1f} dB."
        for each in [kept for kept in evaluation.kept if kept.way == name][:SETS_SAID]
    ]
    return said or ["On none of the sets can anything be gained."]


def _unsure(difference: Interval) -> str:
    return ", which is not sure" * (difference.low <= 0 <= difference.high)


def _verdict(verdict: Verdict) -> Iterator[str]:
    wins = verdict.wins
    yield f'<section class="verdict{" wins" * wins}" aria-label="verdict">'
    told = f"{verdict.challenger} {'wins' if wins else 'does not win'} against {verdict.against}"
    yield f"<strong>{escape(told)}.</strong>"
    if verdict.reasons:
        yield f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in verdict.reasons)}</ul>"
    yield f"{_drawn(verdict_listing(verdict))}</section>"


def _drawn(listing: Listing | str, links: Links = MappingProxyType({})) -> str:
    """A table in its own box, which scrolls; columns of numbers stand right."""
    if isinstance(listing, str):
        return f"<p>{escape(listing)}</p>"
    rows = [row for part in listing.parts for row in part]
    right = [all(NUMBER.fullmatch(cell) for cell in column) for column in zip(*rows, strict=True)]
    kinds = [' class="n"' if number else "" for number in right]

    def line(row: Row, style: str) -> str:
        first = escape(row[0])
        if tuple(row[:2]) in links:
            first = f'<a href="#{links[tuple(row[:2])]}">{first}</a>'
        cells = (f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        return f'<tr{style}><th scope="row">{first}</th>{"".join(cells)}</tr>'

    title, bodies = escape(listing.title), ""
    for number, part in enumerate(listing.parts):
        style = f' class="{listing.first}"' if listing.first and not number else ""
        bodies += f"<tbody>{''.join(line(row, style) for row in part)}</tbody>"
    heads = (f'<th scope="col"{kind}>{escape(head)}</th>' for head, kind in zip(listing.heads, kinds, strict=True))
    head = f"<thead><tr>{''.join(heads)}</tr></thead>" if any(listing.heads) else ""
    table = f"<table><caption><span>{title}</span></caption>{head}{bodies}</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">{table}</div>'


def _shown(
    evaluation: Evaluation, sets: Sequence[ReportSet], way: Way, on_picture: Callable[[str], None]
) -> Iterator[Example]:
    taken = 0
    for each in sets:
        for example in examples(each, evaluation.rows(each.name, way.name), way):
            on_picture(example.row.name)
            taken += len(example.before) + len(example.after) + len(example.reference or "")
            if taken > PICTURES_BYTES:
                return
            yield example


def _pictures(shown: Sequence[Example], evaluation: Evaluation) -> Iterator[str]:
    yield '<section id="pictures"><h2>Pictures</h2>'
    yield f"<p>Restored by {escape(evaluation.ways[0].name)}. Drag the handle, or use the arrow keys. Each picture is"
    yield "the part of its image with most detail, pixel by pixel; of a sharp photograph, that which changes most.</p>"
    numbered = enumerate(shown)
    for name, of_set in groupby(numbered, lambda each: each[1].row.set):
        yield f"<h3>{escape(name)}</h3>"
        yield from (_picture(example, number) for number, example in of_set)
    left = [facts.name for facts in evaluation.sets if facts.name not in {example.row.set for example in shown}]
    if left:
        yield f'<p class="soft">Without pictures here: {escape(", ".join(left))}.</p>'
    yield "</section>"


def _picture(example: Example, number: int) -> str:
    row, (width, height) = example.row, example.sides_px
    name = escape(row.name)
    size, box = f'width="{width}" height="{height}"', f'style="max-width:{width}px"'
    sides = (
        f'<div class="picture compare" {box}><img src="{example.after}" alt="{name}, after" {size}>'
        f'<img class="before" src="{example.before}" alt="{name}, before" {size}>'
        '<span class="left">before</span><span>after</span>'
        f'<input type="range" min="0" max="100" value="50" aria-label="how much of {name} is shown before"></div>'
    )
    if example.reference:
        reference = f'<img src="{example.reference}" alt="{name}, the reference" {size}>'
        sides += f'<div class="picture" {box}>{reference}<span>reference</span></div>'
    caption = f"<b>{escape(example.what)}: {name}</b><br>{escape(_caption(row))}"
    about = f'<figcaption>{caption}</figcaption><div class="sides">{sides}</div>'
    return f'<figure class="shown" id="picture-{number}">{about}</figure>'


def _caption(row: Measured) -> str:
    restored, blurry = row.restored, row.blurry
    if not row.can_gain:
        return f"PSNR against the photograph {restored.psnr_db:.2f} dB, SSIM {restored.ssim:.4f}, {row.seconds:.2f} s"
    shifted = "" if row.shifted_gain_db is None else f", after one shift {row.shifted_gain_db:+.2f}"
    return (
        f"PSNR {blurry.psnr_db:.2f} → {restored.psnr_db:.2f} dB: {row.gain_db:+.2f}{shifted}. "
        f"SSIM {blurry.ssim:.4f} → {restored.ssim:.4f}. Blur {row.blur_px:.1f} px, "
        f"{row.width_px} × {row.height_px} px, {row.seconds:.2f} s"
    )


def _plots(evaluation: Evaluation) -> Iterator[str]:
    models = enumerate(evaluation.models)
    legend = (f'<li class="w{number % COLOURS}">{escape(name)}</li>' for number, name in models)
    yield f'<section id="plots"><h2>Plots</h2><ul class="legend">{"".join(legend)}</ul><div class="plots">'
    for title, svg in plots_of(evaluation):
        yield f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"
    yield "</div></section>"


def _compared(evaluation: Evaluation) -> Iterator[str]:
    sets = []
    for each in evaluation.sets:
        kind = "sharp photographs" if each.sharp else "pairs"
        sets.append([each.name, kind, str(each.images), str(each.scenes), each.fingerprint])
    ways = [[way.name, (way.sha256 or "-")[:HASH_DIGITS], way.precision or "-"] for way in evaluation.ways]
    facts = [["SSIM", f"{evaluation.convention}: {CONVENTIONS[evaluation.convention]}"]]
    facts += [[key.replace("_", " "), str(value)] for key, value in evaluation.machine.items()]
    yield '<section id="compared"><h2>What was compared</h2><div class="beside">'
    yield _drawn(Listing("sets", ["", "of", "images", "scenes", "fingerprint"], [sets]))
    yield _drawn(Listing("ways", ["", "sha256", "precision"], [ways]))
    yield f"{_drawn(Listing('how', ['', ''], [facts]))}</div></section>"
