"""The overview of a folder of runs: all of them, the newest first, and how often each failed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.errors import UnreadableError, UsageError
from harness.record.folder import RunFolder, read_json
from harness.report import assets, parts
from harness.report.markup import Html, cut, element, join, table
from harness.report.page import NAME
from harness.report.reading import listed, mapped, number
from harness.report.story import seconds

OVERVIEW = "index.html"

MAX_MARKS = 40
"""The last runs of an experiment that are shown as one letter each."""

_ORDER = ("failed", "broken", "unsteady", "unknown", "aborted", "unfinished", "damaged", "passed")


@dataclass(frozen=True)
class Line:
    """One run as the overview shows it."""

    name: str
    experiment: str
    outcome: str
    seed: str
    started: str
    lasted: float | None
    ops: int
    faults: int
    finding: str
    mutant: str
    again: str
    """What it carried out again, in words: nothing, if its plan was drawn from a seed."""
    reported: bool

    @property
    def title(self) -> str:
        name = self.experiment.rpartition("::")[2]
        mutant = f" on mutant {self.mutant}" if self.mutant else ""
        return f"{name}{mutant}{f', {self.again}' if self.again else ''}"


def write_overview(runs_dir: Path, inline: bool) -> Path:
    """Make the page in the folder of runs. O(runs): histories are not read."""
    try:
        folders = [path for path in runs_dir.iterdir() if path.is_dir() and path.name[0] != "."]
    except OSError as error:
        raise UsageError(
            f"The folder for runs, {runs_dir}, cannot be read.",
            why=str(error),
            do="Name another one with --runs-dir.",
        ) from None
    lines = [_line(path) for path in sorted(folders, key=lambda path: path.name, reverse=True)]
    path = runs_dir / OVERVIEW
    if not inline:
        assets.store(runs_dir)
    assets.write_file(path, overview(lines, inline))
    return path


def _line(path: Path) -> Line:
    folder = RunFolder(path)
    reported = (path / NAME).exists()
    try:
        identity = folder.read_identity()
    except UnreadableError as error:
        return Line(
            path.name, path.name, "damaged", "", "", None, 0, 0, error.what, "", "", reported
        )
    ops = mapped(identity.get("ops"))
    outcome = str(identity.get("outcome") or "unfinished")
    return Line(
        name=path.name,
        experiment=str(identity["experiment"]),
        outcome=outcome,
        seed=str(identity["seed"]),
        started=str(identity.get("started") or "")[:19].replace("T", " "),
        lasted=number(identity.get("duration_s")),
        ops=sum(count for count in ops.values() if isinstance(count, int)),
        faults=int(number(identity.get("faults")) or 0),
        finding=_finding(folder, outcome, str(identity.get("reason") or "")),
        mutant=str(identity.get("mutant") or ""),
        again=_again(identity),
        reported=reported,
    )


def _again(identity: dict[str, Any]) -> str:
    if regression := identity.get("regression"):
        return f"regression {Path(str(regression)).stem}"
    return "replayed" if identity.get("recording") else ""


def _finding(folder: RunFolder, outcome: str, reason: str) -> str:
    """What the checks said, in a few words."""
    if outcome != "passed":
        return reason
    try:
        held = read_json(folder.verdicts, "verdicts", 1_000, required=("verdicts",))
    except UnreadableError:
        return ""
    verdicts = [mapped(one) for one in listed(held["verdicts"])]
    flaws = [str(one.get("check")) for one in verdicts if one.get("result") == "invalid"]
    if flaws:
        return f"found, as expected: {', '.join(flaws)}"
    return f"{len(verdicts)} checks valid"


def overview(lines: list[Line], inline: bool) -> str:
    """The page as text."""
    counts = {one: sum(line.outcome == one for line in lines) for one in _ORDER}
    told = [join(parts.badge(one), f"{count} ") for one, count in counts.items() if count]
    body = join(
        element("header", element("h1", "Runs"), element("p", *told) if told else None),
        element("main", _experiments(lines), _runs(lines, counts)) if lines else _none(),
        parts.footer(),
        by="\n",
    )
    return assets.page("Runs", body, place="", inline=inline)


def _none() -> Html:
    return element("main", element("p", "There are no runs yet.", class_="none"), _filters([], {}))


def _experiments(lines: list[Line]) -> Html:
    """How often each experiment came out how: one that does both is flaky, or its system is."""
    groups: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        # What is carried out again says nothing about fresh seeds.
        groups[line.experiment, line.title].append(line)
    rows: list[list[Any]] = []
    for (experiment, name), runs in sorted(groups.items()):
        failed = sum(run.outcome in ("failed", "unsteady") for run in runs)
        decided = failed + sum(run.outcome == "passed" for run in runs)
        button = element("button", name, type="button", data_only=experiment)
        # Oldest first, as one reads; a letter each, for those who do not see colours.
        marks = [
            element(
                "span",
                parts.MARKS.get(run.outcome, "?"),
                class_=run.outcome,
                title=f"{run.outcome}: {run.name}",
            )
            for run in reversed(runs[:MAX_MARKS])
        ]
        share = f"{failed} of {decided} ({failed / decided:.0%})" if decided else "none decided"
        rows.append(
            [button, len(runs), share, _flaky(runs), element("span", *marks, class_="marks")]
        )
    heads = ["experiment", "runs", "failed", "flaky", f"the last {MAX_MARKS}, newest last"]
    return element("section", element("h2", "Experiments"), table(heads, rows), id="experiments")


def _flaky(runs: list[Line]) -> str:
    """Which seeds both passed and failed; a few seeds that fail are no flakiness."""
    ended: dict[str, set[str]] = defaultdict(set)
    decided = [run for run in runs if run.outcome in ("passed", "failed", "unsteady")]
    for run in decided:
        ended[run.seed].add("passed" if run.outcome == "passed" else "failed")
    both = [seed for seed, outcomes in ended.items() if len(outcomes) == 2]
    again = sum(run.seed in both for run in decided)
    if both:
        seeds = ", ".join(both[:3]) + (" …" if len(both) > 3 else "")
        return f"seed {seeds} ended both ways in {again} runs"
    return "no" if len(decided) > len(ended) else ""


def _filters(experiments: list[str], counts: dict[str, int]) -> Html:
    boxes = [
        element(
            "label",
            Html(f'<input type="checkbox" checked data-outcome-filter value="{one}"> '),
            one,
        )
        for one, count in counts.items()
        if count
    ]
    options = [element("option", "all experiments", value="")]
    options += [element("option", one.rpartition("::")[2], value=one) for one in experiments]
    search = Html(
        '<input type="search" id="search" placeholder="words, seed, check …" aria-label="Search">'
    )
    return element(
        "div",
        search,
        element("select", *options, id="experiment", aria_label="Experiment"),
        *boxes,
        element("output", id="count", aria_live="polite"),
        class_="filters",
    )


def _runs(lines: list[Line], counts: dict[str, int]) -> Html:
    heads = [
        "outcome",
        "experiment",
        "started (UTC)",
        "seed",
        "lasted",
        "ops",
        "faults",
        "what was found",
    ]
    rows = []
    for line in lines:
        target = f"{quote(line.name)}/{NAME if line.reported else ''}"
        cells = [
            parts.badge(line.outcome),
            element("a", line.title, href=target),
            line.started,
            line.seed,
            "" if line.lasted is None else seconds(line.lasted),
            line.ops,
            line.faults,
            cut(line.finding.partition("\n")[0], 240),
        ]
        rows.append(
            element(
                "tr",
                *(
                    element("td", cell, class_="nowrap" if 2 <= n <= 6 else None)
                    for n, cell in enumerate(cells)
                ),
                data_outcome=line.outcome,
                data_experiment=line.experiment,
            )
        )
    head = element("tr", *(element("th", word, scope="col") for word in heads))
    whole = element("table", element("thead", head), element("tbody", *rows))
    experiments = sorted({line.experiment for line in lines})
    return element(
        "section",
        element("h2", "All runs"),
        _filters(experiments, counts),
        element("div", whole, class_="wide"),
        id="runs",
    )
