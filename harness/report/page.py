"""The page of one run: verdicts first, then what happened, the timeline, and the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.record.folder import RunFolder
from harness.report import assets, parts
from harness.report.faults import Fault, faults, states, told_events
from harness.report.markup import Html, element, join
from harness.report.ops import Columns, evidence_rows
from harness.report.reading import Reading, read
from harness.report.series import Chart, charts

NAME = "report.html"


def write_report(folder: RunFolder, inline: bool) -> Path:
    """Make the page, beside the run's files."""
    path = folder.path / NAME
    content = report(read(folder), inline)
    if not inline:
        assets.store(folder.path.resolve().parent)
    assets.write_file(path, content)
    return path


def report(found: Reading, inline: bool) -> str:
    """The page as text. O(ops log ops)."""
    known = faults(found)
    drawn = charts(found)
    columns = Columns()
    data = {
        "span": [0.0, found.end_ns / 1e9],
        "view": first_view(found),
        "runs": [run_data(found, known, columns)],
        "charts": [chart.to_json() for chart in drawn],
    }
    sections = [
        ("verdicts", "Verdicts", parts.verdicts(found)),
        ("story", "What happened", parts.story_section(found, known)),
        ("timeline", "Timeline", timeline([found.title])),
        ("charts", "Charts", chart_section(drawn)),
        ("logs", "Logs around each fault", parts.logs(found, known)),
        ("plan", "Plan", parts.plan(found)),
        ("files", "Seed, versions, files", parts.versions_and_files(found)),
    ]
    body = join(
        parts.header(found),
        contents([(id, title) for id, title, html in sections if html is not None]),
        element("main", *(section(*one) for one in sections)),
        parts.footer(),
        columns.embed(data, "data"),
        by="\n",
    )
    return assets.page(f"{found.outcome}: {found.title}", body, place="../", inline=inline)


def run_data(
    found: Reading, known: list[Fault], columns: Columns, offset: float = 0.0
) -> dict[str, Any]:
    """What the script draws of a run, with `offset` seconds added to all times."""
    end = found.end_ns / 1e9
    verdicts = []
    for number, verdict in enumerate(found.verdicts, start=1):
        rows, blocked = evidence_rows(found.ops, verdict)
        if rows and verdict.get("result") != "valid":
            verdicts.append({"number": number, "rows": rows, "blocked": blocked})
    events = told_events(found)
    return {
        "name": found.name,
        "phases": [[p.name, p.start / 1e9 + offset, p.end / 1e9 + offset] for p in found.phases],
        "nodes": [
            {
                "name": node,
                "states": [[a + offset, b + offset, s] for a, b, s in told],
                "events": [[at + offset, text] for at, text in events.get(node, [])],
            }
            for node, told in states(found, known).items()
        ],
        "faults": [told for fault in known if (told := fault.to_json(end, offset)) is not None],
        "ops": found.ops.packed(columns, offset),
        "end": end + offset,
        "verdicts": verdicts,
    }


def first_view(found: Reading, offset: float = 0.0) -> list[float]:
    """What of a run is seen at first: all but the start and the end of the cluster."""
    before, down = found.phase("before"), found.phase("down")
    start = before.start / 1e9 if before is not None else 0.0
    end = down.start / 1e9 if down is not None else found.end_ns / 1e9
    margin = 0.02 * (end - start)
    return [max(0.0, start - margin) + offset, min(end + margin, found.end_ns / 1e9) + offset]


def section(id: str, title: str, html: Html | None) -> Html | None:
    """A part of the page; nothing for None."""
    if html is None:
        return None
    return element("section", element("h2", title), html, id=id)


def contents(titles: list[tuple[str, str]]) -> Html:
    """The links to the parts."""
    links = [element("a", title, href=f"#{id}") for id, title in titles]
    return element("nav", *links, aria_label="Contents")


def timeline(titles: list[str]) -> Html:
    """Where the script draws the runs, with what the marks mean."""
    canvases = []
    for number, title in enumerate(titles):
        heading = element("h3", title) if len(titles) > 1 else None
        canvas = element(
            "div",
            class_="lanes",
            data_run=number,
            tabindex=0,
            role="application",
            aria_label=f"Timeline of {title}: one lane for each node and each client",
        )
        canvases.append(join(heading, canvas))
    buttons = [
        ("in", "+", "Zoom in (+)"),
        ("out", "\N{MINUS SIGN}", "Zoom out (-)"),
        ("left", "\N{LEFTWARDS ARROW}", "Earlier (←)"),
        ("right", "\N{RIGHTWARDS ARROW}", "Later (→)"),
        ("all", "Whole run", "The whole run (0)"),
    ]
    tools = [
        element("button", face, type="button", data_view=do, title=tip, aria_label=tip)
        for do, face, tip in buttons
    ]
    return join(
        element(
            "div",
            element(
                "div", *tools, element("output", id="window", aria_live="polite"), class_="tools"
            ),
            element("div", id="legend", class_="legend"),
            class_="bar",
        ),
        Html(
            '<p class="hint">Drag to zoom in, double-click for the whole run, Shift and drag to '
            "move. Click the timeline, then: wheel or <kbd>+</kbd> <kbd>-</kbd> zoom, "
            "<kbd>←</kbd> <kbd>→</kbd> move, <kbd>0</kbd> whole run, <kbd>f</kbd> next fault, "
            "<kbd>e</kbd> next op of the evidence, <kbd>,</kbd> <kbd>.</kbd> op before, after. "
            "Ctrl and wheel zooms everywhere.</p>"
        ),
        Html(
            '<p class="unscripted">The timeline and the charts need the script of this page. '
            "Where it is missing (the folder was moved without <code>.report/</code> beside it), "
            "make a page that holds it: <code>harness report RUN --inline</code>.</p>"
        ),
        *canvases,
        element("div", id="selected", aria_live="polite"),
    )


def chart_section(drawn: list[Chart]) -> Html:
    """Where the script draws the charts."""
    if not drawn:
        return element("p", "Nothing was measured over time.", class_="none")
    figures = [
        element(
            "figure",
            element(
                "h3",
                chart.title,
                element("span", chart.unit, class_="unit") if chart.unit else None,
            ),
            element("p", chart.about, *(f" {note}" for note in chart.notes), class_="about"),
            element("div", class_="chart", data_chart=chart.id),
        )
        for chart in drawn
    ]
    return element("div", *figures, class_="charts")
