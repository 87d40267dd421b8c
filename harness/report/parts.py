"""The parts of a run's page that are text: header, verdicts, story, logs, plan, files."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from harness.report.faults import Fault, faults
from harness.report.logs import MAX_LINE, Log, read_log
from harness.report.markup import Html, cut, element, join, table
from harness.report.ops import evidence_rows, row_in, span_in
from harness.report.reading import Reading, listed, mapped, number
from harness.report.story import OUTCOMES, Sentence, beside, ops_span, seconds, story

MARKS = {
    "passed": "\N{CHECK MARK}",
    "valid": "\N{CHECK MARK}",
    "failed": "\N{BALLOT X}",
    "invalid": "\N{BALLOT X}",
    "broken": "!",
    "unsteady": "~",
    "aborted": "\N{BLACK SQUARE}",
    "unfinished": "\N{HORIZONTAL ELLIPSIS}",
}
"""What stands beside the colour of an outcome: nothing is told by colour alone."""

MAX_EVIDENCE = 12_000
MAX_PICTURE = 300_000
MAX_ROWS = 60
LOG_MARGIN_S = 1.0
LINES_EACH = 24
"""Log lines of one node around the beginning of a fault, and around its end."""
LOG_CHARACTERS = 400_000
"""Log text in one report: what is beyond is in the files."""


def badge(outcome: str) -> Html:
    """An outcome or a result as a coloured word."""
    mark = MARKS.get(outcome, "?")
    return element(
        "span",
        element("span", mark, class_="mark", aria_hidden="true"),
        outcome,
        class_=f"badge {_class(outcome)}",
    )


def _class(outcome: str) -> str:
    return outcome if outcome in MARKS or outcome == "unknown" else "other"


def command(words: str, about: str) -> Html:
    """A command that can be copied."""
    copy = element("button", "Copy", type="button", class_="copy", data_copy=words)
    return element(
        "div", element("span", about, class_="what"), element("code", words), copy, class_="command"
    )


def header(found: Reading) -> Html:
    """How it ended, in words; what was run, when, and how to run it again."""
    identity = found.identity
    facts: list[tuple[str, Any]] = [
        ("Experiment", identity.get("experiment", "not recorded")),
        (
            "Started",
            str(identity.get("started", "not recorded"))
            .replace("T", " ")
            .replace("+00:00", " UTC"),
        ),
        ("Lasted", _lasted(identity.get("duration_s"))),
        ("Seed", identity.get("seed", "not recorded")),
        ("Target", _target(found)),
        ("Runtime", identity.get("runtime", "not recorded")),
    ]
    if identity.get("mutant"):
        facts.append(("Mutant", f"{identity['mutant']} (a deliberate bug of the target)"))
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    reason = str(identity.get("reason") or "")
    return element(
        "header",
        element("p", badge(found.outcome), OUTCOMES.get(found.outcome, ""), class_="outcome"),
        element("h1", found.title),
        element("p", cut(reason, 1500), class_="reason") if reason else None,
        missing(found),
        element("dl", *pairs),
        commands(found),
    )


def missing(found: Reading) -> Html | None:
    """What could not be read, if anything."""
    if not found.missing:
        return None
    items = [element("li", cut(one, 400)) for one in found.missing]
    return element(
        "div",
        element("strong", "Not everything could be read"),
        element("ul", *items),
        class_="missing",
    )


def commands(found: Reading) -> Html:
    """How to repeat the run, and how to make it smaller if it failed."""
    folder = shlex.quote(f"{found.folder.path.resolve().parent.name}/{found.name}")
    replay = found.identity.get("replay") or f"harness replay {folder}"
    told = [command(str(replay), "Replay")]
    if found.outcome in ("failed", "unsteady"):
        told.append(command(f"harness shrink {folder}", "Shrink"))
    return element("div", *told, class_="commands")


def _lasted(value: Any) -> str:
    length = number(value)
    return "not recorded" if length is None else seconds(length)


def _target(found: Reading) -> str:
    target = mapped(found.plan.get("target"))
    return f"{target.get('name', 'not recorded')}, nodes: {len(found.nodes)}"


def verdicts(found: Reading) -> Html:
    """Every check, those that were not as expected first."""
    if not found.verdicts:
        return element("p", "Nothing was judged.", class_="none")
    numbered = list(enumerate(found.verdicts, start=1))
    numbered.sort(key=lambda one: _grave(one[1]))
    return join(*(_verdict(number, verdict, found) for number, verdict in numbered))


def _grave(verdict: dict[str, Any]) -> int:
    result = verdict.get("result")
    if result != verdict.get("expected", "valid"):
        return 0 if result == "invalid" else 1
    return 2 if result != "valid" else 3


def _verdict(place: int, verdict: dict[str, Any], found: Reading) -> Html:
    result, hoped = str(verdict.get("result")), str(verdict.get("expected", "valid"))
    expected = "as expected" if result == hoped else f"expected: {hoped}"
    name, summary = str(verdict.get("check", "?")), str(verdict.get("summary", ""))
    top = element(
        "h3", badge(result), element("code", name), element("span", expected, class_="expected")
    )
    evidence = "\n".join(
        line for line in str(verdict.get("evidence") or "").splitlines() if line != summary
    )
    shown = _evidence(cut(evidence, MAX_EVIDENCE), found) if evidence else None
    looked = [f"{verdict['ops']} ops looked at"] if verdict.get("ops") else []
    if verdict.get("anomaly"):
        looked.append(f"anomaly: {verdict['anomaly']}")
    if verdict.get("model"):
        looked.append(f"model: {verdict['model']}")
    content = [
        element("p", cut(summary, 2000), class_="summary"),
        _ops_of(place, verdict, found) if result != "valid" else None,
        shown if result != "valid" else _folded("Figures", shown),
        _picture(found.folder.evidence(place)),
        element("p", "; ".join(looked), class_="about") if looked else None,
    ]
    good = "fine" if result == "valid" == hoped else "found"
    return element("article", top, *content, class_=f"verdict {good}", id=f"verdict-{place}")


def _evidence(told: str, found: Reading) -> Html:
    """The text of a verdict; lines that tell of one op lead to it."""
    lines = []
    for line in told.splitlines():
        place, row = span_in(line), row_in(found.ops, line)
        if place is None or row is None:
            lines.append(join(line))
            continue
        start, end = place
        lines.append(join(line[:start], op_button(row, line[start:end]), line[end:]))
    return element("pre", join(*lines, by="\n"))


def op_button(row: int, face: str) -> Html:
    """What leads to an op on the timeline."""
    return element("button", face, type="button", class_="op", data_op=row, data_run=0)


def _folded(title: str, content: Html | None) -> Html | None:
    if content is None:
        return None
    return element("details", element("summary", title), content)


def _picture(path: Path) -> Html | None:
    """The drawing of the evidence, in the page itself: as an image nothing in it is carried out."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) > MAX_PICTURE:
        return element("p", element("a", path.name, href=quote(path.name)))
    code = base64.b64encode(data).decode()
    source = Html(
        f'<img alt="The ops of the evidence by process" src="data:image/svg+xml;base64,{code}">'
    )
    return element("div", source, class_="picture")


def _ops_of(place: int, verdict: dict[str, Any], found: Reading) -> Html | None:
    rows, blocked = evidence_rows(found.ops, verdict)
    if not rows:
        return None
    ops, span = found.ops, ops_span(found, rows)
    named = bool(mapped(verdict.get("data")).get("ops"))
    lines = []
    for row in rows[:MAX_ROWS]:
        end = float(ops.end[row])
        until = f"{end:.4f}" if end == end else "never heard of"
        show = op_button(row, f"{ops.start[row]:.4f}-{until} s")
        mark = (
            element("strong", "\N{BLACK LEFT-POINTING SMALL TRIANGLE} has no place")
            if row == blocked
            else ""
        )
        lines.append(
            [
                show,
                int(ops.process[row]),
                ops.texts[ops.node[row]],
                element("code", cut(ops.says(row), 110)),
                ended(found, row),
                mark,
            ]
        )
    more = len(rows) - len(lines)
    together = element(
        "button", "Show them on the timeline", type="button", class_="show", data_span=_padded(span)
    )
    where = f"{span[0]:.3f}-{span[1]:.3f} s, {beside(span, faults(found))}."
    return join(
        element("p", f"The ops involved: {where} ", together),
        # Where the data names none they are in the text below, in tables of their own.
        table(["time", "process", "node", "op", "ended", ""], lines, "ops") if named else None,
        element("p", f"{more} more are in verdicts.json.", class_="about") if more > 0 else None,
    )


def ended(found: Reading, row: int) -> str:
    """How an op ended, in the words of histories."""
    word = ("ok", "fail: mismatch", "fail", "info")[int(found.ops.ended[row])]
    error = found.ops.texts[found.ops.error[row]]
    return f"{word}: {error}" if error and ":" not in word else word


def _padded(span: tuple[float, float]) -> str:
    margin = max((span[1] - span[0]) * 0.6, 0.02)
    return f"{max(0.0, span[0] - margin):.4f},{span[1] + margin:.4f}"


def story_section(found: Reading, known: list[Fault]) -> Html:
    """What happened, in plain sentences."""
    return element(
        "ol", *(element("li", *_sentence(one)) for one in story(found, known)), class_="story"
    )


def _sentence(one: Sentence) -> list[Any]:
    if one.span is None:
        return [one.text]
    margin = max((one.span[1] - one.span[0]) * 0.25, 0.02)
    span = f"{max(0.0, one.span[0] - margin):.4f},{one.span[1] + margin:.4f}"
    return [one.text, " ", element("button", "show", type="button", class_="show", data_span=span)]


def logs(found: Reading, known: list[Fault]) -> Html | None:
    """For each fault a fold-out with what each node logged around it; else the ends of the logs."""
    paths = sorted(path for path in found.folder.logs.glob("*.log") if path.is_file())
    nodes = [path for path in paths if path.stem in found.nodes] or paths
    if not paths:
        return element("p", "There are no logs.", class_="none")
    held = [log for log in (read_log(path, found) for path in nodes) if log.lines]
    budget = [LOG_CHARACTERS]
    folds = []
    if any(log.timed for log in held):
        folds = [_around(fault, held, budget) for fault in known if fault.injected is not None]
    silent = [log for log in held if not log.timed or not folds]
    folds += [_tail(log, budget) for log in silent]
    note = ""
    if folds and found.unix_within_ns > 10**8 and found.monotonic_ns is None:
        note = " Lines are placed to the half second: when the run began is not known better."
    links = [
        join(element("a", p.name, href=quote(f"logs/{p.name}")), f" ({_size(p)})") for p in paths
    ]
    return join(
        element(
            "p",
            f"From {LOG_MARGIN_S:g} s before a fault to {LOG_MARGIN_S:g} s after it; of talkative ",
            f"nodes only around its beginning and its end.{note} ",
            "Whole logs: ",
            join(*links, by=", "),
            ".",
            class_="about",
        ),
        *folds,
    )


def _around(fault: Fault, held: list[Log], budget: list[int]) -> Html:
    assert fault.injected is not None
    start, end = fault.injected, fault.healed or fault.healing or fault.injected
    shown: list[Html] = []
    count = 0
    for log in held:
        for title, lines in _windows(log, start, end) if log.timed else ():
            count += len(lines)
            shown.append(element("h4", f"{log.path.stem}{title}"))
            shown.append(_lines(lines, budget))
    title = element(
        "summary",
        f"{fault.id} {fault.what}, {start:.1f}-{end:.1f} s",
        element("span", f"{count} lines", class_="unit"),
    )
    if not shown:
        shown.append(element("p", "No node logged anything then.", class_="none"))
    return element("details", title, *shown, class_="log")


def _windows(log: Log, start: float, end: float) -> Iterator[tuple[str, list[tuple[float, str]]]]:
    """What a node logged from before the fault to after it, if that is little; else around its
    beginning and around its end."""
    whole = log.around(start - LOG_MARGIN_S, end + LOG_MARGIN_S)
    if len(whole) <= 2 * LINES_EACH or end - start <= 2 * LOG_MARGIN_S:
        if whole:
            yield "", whole
        return
    for at, word in ((start, "began"), (end, "ended")):
        lines = log.around(at - LOG_MARGIN_S, at + LOG_MARGIN_S)
        if lines:
            yield f", when the fault {word} ({at:.1f} s)", lines


def _lines(lines: list[tuple[float, str]], budget: list[int]) -> Html:
    """The first and the last of the lines, as far as the page's budget goes."""
    left_out = 0
    most = 2 * LINES_EACH if budget[0] > 0 else 2
    if len(lines) > most:
        left_out = len(lines) - most
        lines = [*lines[: most // 2], *lines[len(lines) - most // 2 :]]
    told = [f"{at:9.3f}  {cut(line, MAX_LINE)}" for at, line in lines]
    if left_out:
        told.insert(most // 2, f"        …  {left_out} lines left out, see the file")
    whole = "\n".join(told)
    budget[0] -= len(whole)
    return element("pre", whole)


def _tail(log: Log, budget: list[int]) -> Html:
    lines = [cut(line, MAX_LINE) for line in log.lines[-(LINES_EACH if budget[0] > 0 else 4) :]]
    whole = "\n".join(lines)
    budget[0] -= len(whole)
    title = f"{log.path.name}: the last {len(lines)} of {len(log.lines)} lines"
    if not log.timed:
        title += " (its lines do not say when they were written)"
    return element("details", element("summary", title), element("pre", whole), class_="log")


def _size(path: Path) -> str:
    size = path.stat().st_size
    return (
        f"{size} B"
        if size < 1024
        else f"{size / 1024:.0f} KiB"
        if size < 2**20
        else f"{size / 2**20:.1f} MiB"
    )


def plan(found: Reading) -> Html | None:
    """What was resolved from the seed before anything started."""
    if not found.plan:
        return None
    held = found.plan
    rows = []
    for one in map(mapped, listed(held.get("faults"))):
        fields = [
            f"{name} {_word(value)}"
            for name, value in mapped(one.get("fields")).items()
            if value not in (None, [], {})
        ]
        at, lasting = number(one.get("at_s")), number(one.get("lasting_s"))
        rows.append(
            [
                str(one.get("id", "")),
                str(one.get("kind", "")),
                "" if at is None else f"{at:.3f} s",
                "" if lasting is None else f"{lasting:.3f} s",
                ", ".join(fields),
            ]
        )
    heads = ["fault", "kind", "at (of the faults' phase)", "lasting", "fields"]
    facts = [
        f"{name.removesuffix('_s').replace('_', ' ')} {value:g} s"
        for name in ("before_s", "duration_s", "recovery_s")
        if (value := number(held.get(name))) is not None
    ]
    code = orjson.dumps(held, option=orjson.OPT_INDENT_2).decode()
    return join(
        element("p", ", ".join(facts) + "." if facts else ""),
        table(heads, rows) if rows else element("p", "No faults were planned.", class_="none"),
        _folded("plan.json", element("pre", cut(code, 40_000))),
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def versions_and_files(found: Reading) -> Html:
    """What had a part in the run, and where everything is."""
    rows = [[name, value] for name, value in mapped(found.identity.get("versions")).items()]
    folder = found.folder.path
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    files = [
        element("li", element("a", name, href=quote(name)), f" {_size(path)}")
        for name, path in zip(names, paths, strict=True)
        if not name.endswith((".html", ".part")) or name.startswith("load/")
    ]
    return join(
        element(
            "p",
            "Seed ",
            element("code", found.identity.get("seed", "not recorded")),
            ", folder ",
            element("code", found.name),
            ".",
        ),
        table(["part", "version"], rows) if rows else None,
        element("h3", "Files of the run"),
        element("ul", *files, class_="files"),
    )


def footer() -> Html:
    """Who made the page."""
    from harness.version import harness_version

    return element(
        "footer", f"Made by harness {harness_version()} from the files of the run alone."
    )
