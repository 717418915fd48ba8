"""``filmgate roadmap``: a dated way from Wan 2.1 to Wan 2.2, from what the other commands found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.assess import Html, read_text, write_texts
from filmgate.cli.days import OnDay, day
from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.economics.roadmap import Roadmap
    from filmgate.economics.roadmap_inputs import Inputs
    from filmgate.economics.ticks import Earlier


def roadmap(
    *,
    assessment: Annotated[
        Path | None,
        typer.Option("--assessment", metavar="FILE", help="What `filmgate assess --json` printed.", show_default=False),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="What `filmgate migrate prompt` printed with --json, or a"
                     " batch's .jsonl.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="What `filmgate migrate config --json` printed.",
                     show_default=False),
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option("--costs", metavar="FILE", help="What `filmgate cost --json` or `filmgate roi --json` printed.",
                     show_default=False),
    ] = None,
    hourly: Annotated[
        float | None,
        typer.Option("--hourly", metavar="AMOUNT", help="What an hour of people's work costs, in the currency of"
                     " the costs: prices the days of the way.", show_default=False),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="YYYY-MM-DD", help="The first day. Default: that of the earlier roadmap, or"
                     " --date.", show_default=False),
    ] = None,
    on: OnDay = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write Markdown to tick tasks in. If the file is there,"
                     " ticks and first day are kept.", show_default=False),
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option("--earlier", metavar="FILE", help="Keep the ticks of this roadmap, Markdown or JSON. Default: the"
                     " file of --output.", show_default=False),
    ] = None,
    gantt: Annotated[
        Path | None,
        typer.Option("--gantt", metavar="FILE", help="Draw the tasks over weeks, as .svg or .png.", show_default=False),
    ] = None,
    calendar: Annotated[
        Path | None,
        typer.Option("--ical", metavar="FILE", help="Write phases, gates and tasks as a calendar (iCalendar).",
                     show_default=False),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write tasks and gates as a table.", show_default=False),
    ] = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make a dated roadmap: phases, tasks with owners, gates with numbers, risks, and the way back.

    What is not given is assumed, and listed as assumed. Made again, it keeps what is ticked.
    """
    from filmgate.cli.text import json_text
    from filmgate.economics.document import html_of, markdown_of, text_of
    from filmgate.economics.gantt import png_of, svg_of
    from filmgate.economics.roadmap import roadmap as make
    from filmgate.economics.roadmap_document import roadmap_document
    from filmgate.economics.roadmap_exports import calendar_of, table_of
    from filmgate.economics.ticks import start_mark
    from filmgate.media.publish import write_bytes

    _check_picture(gantt)
    made_on, before = day(on), _earlier(earlier, output)
    first = day(start, "start") if start is not None else before.start or made_on
    made = make(_inputs(assessment, prompts, config, costs), first, made_on, before.done, hourly)
    svg = svg_of(made)
    drawing = svg.encode() if gantt is None or gantt.suffix.lower() == ".svg" else png_of(made)
    events = None if calendar is None else calendar_of(made)
    document = roadmap_document(made, svg, _beside(gantt, output))
    marked = f"{markdown_of(document)}\n{start_mark(made.start)}\n"
    for path, data in ((gantt, drawing), (calendar, events)):
        if path is not None and data is not None:
            write_bytes(path, data)
    write_texts((output, marked), (table, table_of(made)), (html, html_of(document)))
    print(json_text(made) if as_json else text_of(document) if output is None else _summary(made, output))


def _inputs(assessment: Path | None, prompts: Path | None, config: Path | None, costs: Path | None) -> Inputs:
    from filmgate.economics.roadmap_inputs import Inputs, read_assessment, read_costs, read_prompts, read_upgrade

    return Inputs(
        assessment=None if assessment is None else read_assessment(read_text(assessment, "assessment")),
        prompts=None if prompts is None else read_prompts(read_text(prompts, "prompts")),
        upgrade=None if config is None else read_upgrade(read_text(config, "config")),
        costs=None if costs is None else read_costs(read_text(costs, "costs")),
    )


def _earlier(earlier: Path | None, output: Path | None) -> Earlier:
    from filmgate.economics.ticks import Earlier, earlier_of
    from filmgate.spec import InvalidRequest

    if earlier is not None:
        return earlier_of(read_text(earlier, "earlier"))
    if output is None or not output.exists():
        return Earlier(None, ())
    found = earlier_of(read_text(output, "output"))
    if found.start is None and output.stat().st_size:
        raise InvalidRequest("output", f"{output} is there, and is no roadmap", allowed="a new file, or a roadmap")
    return found


def _check_picture(gantt: Path | None) -> None:
    from filmgate.spec import InvalidRequest

    if gantt is not None and gantt.suffix.lower() not in (".svg", ".png"):
        raise InvalidRequest("gantt", f"{gantt} has no known ending", allowed=".svg or .png")


def _beside(gantt: Path | None, output: Path | None) -> str | None:
    """How the Markdown names the picture: by its way from there."""
    import os

    if gantt is None or output is None:
        return None
    return Path(os.path.relpath(gantt.absolute(), output.absolute().parent)).as_posix()


def _summary(made: Roadmap, output: Path) -> str:
    from filmgate.cli.text import columns

    rows = [
        (phase.title, f"{phase.begins} to {phase.ends}", f"{phase.done} of {len(phase.tasks)} tasks done")
        for phase in made.phases
    ]
    against = "".join(f"\nLate: {words}" for words in made.late)
    against += "".join(f"\nContradiction: {words}" for words in made.contradictions)
    again = len(made.other_plan)
    said = "" if not again else f"\nDone for another plan, and to be done for this one: {again} of those ticked"
    against += "\n" if against else ""
    return f"To {made.goal}\n{columns(rows)}\n{against}{said}\nRoadmap: {output}"
