"""Several runs on one page: a table, and what each costs against how good it is."""

from __future__ import annotations

from collections.abc import Callable

from onnxprune.report.comparison import Compared, Run, budget_words
from onnxprune.report.comparison_markdown import fronts_words, latency_text, quality_text
from onnxprune.report.facts import chance_points
from onnxprune.report.page import numbers
from onnxprune.report.page.assets import document
from onnxprune.report.page.markup import Content, Markup, join, tag
from onnxprune.report.page.scatter import Spot, scatter
from onnxprune.report.page.section import charts, listing, paragraphs, table

__all__ = ["comparison_html"]

_UNDER = "To the upper left is better. Joined: runs that none beats in both. Lines: 95 % intervals."


def comparison_html(compared: Compared) -> str:
    """Returns runs side by side as a page that needs nothing but itself."""
    count = len(compared.runs)
    head = tag(
        "header",
        tag("p", "onnxprune report", class_="eyebrow"),
        tag("h1", f"{count} run{'' if count == 1 else 's'} compared"),
        tag("p", _lead(compared), class_="lead"),
    )
    notes = None
    if compared.notes:
        notes = tag("div", tag("h2", "What to know"), listing(compared.notes), class_="box warn", role="note")
    drawn = charts(
        _front(compared, "MACs", lambda run: run.macs, lambda run: None, "MACs, % of the original"),
        _front(compared, "latency", lambda run: run.ratio, lambda run: run.interval, "time, % of the original's"),
    )
    if drawn is None:
        drawn = paragraphs("No front is drawn: the runs have no figure of quality in common.", kind="missing")
    fronts = tag("section", tag("h2", "Cost and quality", id="front-title"), drawn, aria_labelledby="front-title")
    rows = tag("section", tag("h2", "Runs", id="runs-title"), _table(compared), aria_labelledby="runs-title")
    return document(f"{count} runs compared · onnxprune", tag("main", head, notes, fronts, rows, class_="alone"))


def _lead(compared: Compared) -> str:
    if not compared.quality_name:
        return "The runs have no figure of quality in common, so that none can be said to be the best."
    said = f"Quality is {compared.quality_name}."
    for name, front in (("MACs", compared.by_macs), ("latency", compared.by_latency)):
        if front:
            letters = ", ".join(compared.letters[place] for place in sorted(front))
            said += f" On the front of {name}: {letters}."
    return said


def _front(
    compared: Compared,
    name: str,
    cost: Callable[[Run], float | None],
    interval: Callable[[Run], tuple[float, float] | None],
    x_name: str,
) -> Markup | None:
    front = compared.by_macs if name == "MACs" else compared.by_latency
    share = compared.quality_name != "your metric"
    scale = 100.0 if share else 1.0
    spots = []
    for place, (run, quality) in enumerate(zip(compared.runs, compared.qualities, strict=True)):
        x, ends = cost(run), interval(run)
        if x is None or quality is None:
            continue
        across = (ends[0] * 100, ends[1] * 100) if ends is not None else None
        chance = chance_points(run.point.evaluation) if run.point.evaluation is not None else None
        up = None
        if chance is not None and compared.quality_name == "top-1 accuracy":
            up = (max(quality * scale - chance, 0.0), min(quality * scale + chance, 100.0))
        spots.append(Spot(compared.letters[place], x * 100, quality * scale, across, up, place in front))
    good = compared.quality_name
    title = f"{good[:1].upper()}{good[1:]} against {name}"
    return scatter(title, spots, x_name=x_name, y_name=f"{good}, %" if share else good, under=_UNDER)


def _table(compared: Compared) -> Markup:
    rows: list[tuple[Content, ...]] = []
    for place, run in enumerate(compared.runs):
        rows.append(
            (
                join((tag("strong", compared.letters[place]), " ", run.name)),
                budget_words(run),
                numbers.percent(run.macs),
                numbers.percent(run.params),
                numbers.percent(run.size),
                latency_text(run),
                quality_text(compared, place),
                fronts_words(compared, place),
                run.status,
            )
        )
    head = ("run", "budget", "MACs", "parameters", "size", "latency, 95 % interval", "quality", "front", "outcome")
    under = "Shares and ratios are of the original; quality is before and after."
    shown = table("Runs", head, rows, words=(1, 7, 8), kind="named sortable", loud=False)
    return join((shown, paragraphs(under, kind="under")))
