"""The page of two runs: what differed, and both on one time axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.record.folder import RunFolder
from harness.report import assets, parts
from harness.report.faults import Fault, faults
from harness.report.markup import Html, element, join, table
from harness.report.ops import Columns
from harness.report.page import (
    NAME,
    chart_section,
    contents,
    first_view,
    run_data,
    section,
    timeline,
)
from harness.report.reading import Reading, mapped, number, read
from harness.report.series import Chart, Curve, charts
from harness.report.story import seconds

OVERLAID = {"latency": ("p50", "p99"), "throughput": None}
"""Charts that show both runs in one, and which of their curves (None: all)."""


def write_both(a: RunFolder, b: RunFolder, inline: bool) -> Path:
    """Make the page in the folder of `b`."""
    first, second = read(a), read(b)
    path = b.path / f"compare-{first.name}.html"
    if not inline:
        assets.store(b.path.resolve().parent)
    assets.write_file(path, comparison(first, second, inline))
    return path


def comparison(a: Reading, b: Reading, inline: bool) -> str:
    """The page as text. Times count from the beginning of the faults' phase of each run."""
    both = (a, b)
    offsets = [_offset(found) for found in both]
    known = [faults(found) for found in both]
    drawn = _charts(both, offsets)
    columns = Columns()
    runs = [
        run_data(found, own, columns, offset)
        for found, own, offset in zip(both, known, offsets, strict=True)
    ]
    views = [first_view(found, offset) for found, offset in zip(both, offsets, strict=True)]
    data = {
        "span": [min(offsets), max(run["end"] for run in runs)],
        "view": [min(view[0] for view in views), max(view[1] for view in views)],
        "runs": runs,
        "charts": [{**chart.to_json(offset), "run": run} for chart, offset, run in drawn],
    }
    shown = [chart for chart, _, _ in drawn]
    sections = [
        ("differences", "What differed", _differences(a, b, known, offsets)),
        ("timeline", "Timelines", timeline([f"A: {a.name}", f"B: {b.name}"])),
        ("charts", "Charts", chart_section(shown)),
    ]
    body = join(
        _header(a, b),
        contents([(id, title) for id, title, _ in sections]),
        element("main", *(section(*one) for one in sections)),
        parts.footer(),
        columns.embed(data, "data"),
        by="\n",
    )
    return assets.page(f"{a.name} and {b.name}", body, place="../", inline=inline)


def _offset(found: Reading) -> float:
    """What to add to a run's times, in seconds, so that the faults' phase begins at 0."""
    during = found.phase("during")
    return -during.start / 1e9 if during is not None else 0.0


def _header(a: Reading, b: Reading) -> Html:
    cards = []
    for letter, found, link in (
        ("A", a, f"../{quote(a.name)}/{NAME}" if _beside(a, b) else None),
        ("B", b, NAME),
    ):
        name = element("a", found.name, href=link) if link else found.name
        reason = str(found.identity.get("reason") or "")
        cards.append(
            element(
                "div",
                element("dt", letter, " ", parts.badge(found.outcome)),
                element("dd", name, element("p", reason, class_="about") if reason else None),
            )
        )
    same = "the same plan" if a.plan == b.plan and a.plan else "different plans"
    about = "Times count from the moment at which the phase of the faults began in each."
    return element(
        "header",
        element("h1", f"Two runs of {same}"),
        element("dl", *cards),
        element("p", about, class_="about"),
        *(parts.missing(found) for found in (a, b)),
    )


def _beside(a: Reading, b: Reading) -> bool:
    return a.folder.path.resolve().parent == b.folder.path.resolve().parent


def _differences(a: Reading, b: Reading, known: list[list[Fault]], offsets: list[float]) -> Html:
    """Facts of both, line by line; what is not the same stands out."""
    rows: list[tuple[str, str, str]] = [
        ("experiment", _fact(a, "experiment"), _fact(b, "experiment")),
        ("outcome", a.outcome, b.outcome),
        ("seed", _fact(a, "seed"), _fact(b, "seed")),
        ("runtime", _fact(a, "runtime"), _fact(b, "runtime")),
        ("mutant", _fact(a, "mutant"), _fact(b, "mutant")),
        ("steady again after", _length(a), _length(b)),
    ]
    rows += _verdicts(a, b)
    counts = [a.ops.counts(), b.ops.counts()]
    rows += [(f"ops {name}", str(counts[0][name]), str(counts[1][name])) for name in counts[0]]
    told = [
        {fault.id: _told(fault, offset) for fault in many}
        for many, offset in zip(known, offsets, strict=True)
    ]
    rows += [
        (id, told[0].get(id, "none"), told[1].get(id, "none"))
        for id in dict.fromkeys([*told[0], *told[1]])
    ]
    versions = [mapped(found.identity.get("versions")) for found in (a, b)]
    for part in dict.fromkeys([*versions[0], *versions[1]]):
        one, other = str(versions[0].get(part)), str(versions[1].get(part))
        if one != other:
            rows.append((f"version of {part}", one, other))
    cells: list[list[Any]] = []
    for name, one, other in rows:
        if one == other in ("", "None"):
            continue
        differs = one != other
        mark = element("span", "\N{NOT EQUAL TO}", title="differs") if differs else ""
        class_ = "differs" if differs else None
        cells.append(
            [name, element("span", one, class_=class_), element("span", other, class_=class_), mark]
        )
    return table(["", "A", "B", ""], cells)


def _fact(found: Reading, name: str) -> str:
    value = found.identity.get(name)
    return "" if value is None else str(value)


def _length(found: Reading) -> str:
    value = number(found.identity.get("recovered_s"))
    return "" if value is None else seconds(value)


def _verdicts(a: Reading, b: Reading) -> list[tuple[str, str, str]]:
    results = []
    for found in (a, b):
        told: dict[str, str] = {}
        for verdict in found.verdicts:
            anomaly = f" ({verdict['anomaly']})" if verdict.get("anomaly") else ""
            told[str(verdict.get("check"))] = f"{verdict.get('result')}{anomaly}"
        results.append(told)
    names = dict.fromkeys([*results[0], *results[1]])
    return [
        (name, results[0].get(name, "not judged"), results[1].get(name, "not judged"))
        for name in names
    ]


def _told(fault: Fault, offset: float) -> str:
    """A fault in a few words; its moment to the tenth of a second, which is what machines keep."""
    if fault.injected is None:
        return f"{fault.what}: did not take effect"
    on = f" on {', '.join(fault.nodes)}" if fault.nodes else ""
    end = fault.healed or fault.healing
    until = f"-{end + offset:.1f}" if end is not None else " on"
    met = {True: "", False: ", did not bite", None: ""}[fault.bit]
    return f"{fault.what}{on}, {fault.injected + offset:.1f}{until} s{met}"


def _charts(
    both: tuple[Reading, Reading], offsets: list[float]
) -> list[tuple[Chart, float, int | None]]:
    """The charts with what to add to their times and the run they are of; None: of both."""
    made = [{chart.id: chart for chart in charts(found)} for found in both]
    found: list[tuple[Chart, float, int | None]] = []
    for id in dict.fromkeys([*made[0], *made[1]]):
        pair = [charts_of.get(id) for charts_of in made]
        if id in OVERLAID and pair[0] is not None and pair[1] is not None:
            found.append((_overlaid(pair[0], pair[1], offsets), 0.0, None))
            continue
        for run, chart in enumerate(pair):
            if chart is not None:
                chart.id, chart.title = f"{id}-{run}", f"{'AB'[run]}: {chart.title}"
                found.append((chart, offsets[run], run))
    return found


def _overlaid(a: Chart, b: Chart, offsets: list[float]) -> Chart:
    """Curves of both over all their moments: A as they are, B dashed."""
    xs = [
        [round(x + offset, 4) for x in chart.x]
        for chart, offset in zip((a, b), offsets, strict=True)
    ]
    x = sorted({*xs[0], *xs[1]})
    place = {moment: n for n, moment in enumerate(x)}
    wanted = OVERLAID[a.id]
    curves = []
    for letter, chart, own, dash in (("A", a, xs[0], 0), ("B", b, xs[1], 1)):
        for curve in chart.curves:
            if wanted is not None and curve.label not in wanted:
                continue
            values: list[float | None] = [None] * len(x)
            for moment, value in zip(own, curve.values, strict=True):
                values[place[moment]] = value
            curves.append(
                Curve(
                    f"{letter} {curve.label}", values, curve.colour, dash, curve.step, joined=True
                )
            )
    return Chart(
        a.id,
        a.title,
        a.unit,
        f"A solid, B dashed. {a.about.partition(' Zoomed')[0]}",
        x,
        curves,
        log=a.log,
    )
