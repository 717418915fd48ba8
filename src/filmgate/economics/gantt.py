"""A roadmap as a picture: tasks as bars over weeks, gates as diamonds. One layout, written as SVG or painted as PNG."""

from __future__ import annotations

import html
import io
import textwrap
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Literal, NamedTuple

from filmgate.economics.roadmap import Phase, Roadmap, Task
from filmgate.economics.schedule import mondays

_LEFT, _RIGHT, _TOP, _ROW, _DAY = 380, 24, 46, 22, 7
_BAR, _SMALL, _LABEL, _LEADING = 13, 11, 58, 13
_COLOURS = ("#2f6fb0", "#2e8b6f", "#b0692f", "#7a4fb0", "#b03a5b", "#5f7a2f")
"""Of phases, told apart by lightness as well as by hue."""
_INK, _SOFT, _LINE, _BAND = "#1c2024", "#5b6570", "#d5dae0", "#f3f5f7"
_DATE_WIDTH = 60
"""Pixels that a date at the top needs."""

Shape = Literal["box", "diamond", "line", "text"]


class Mark(NamedTuple):
    """One thing that is drawn: a box, a diamond (its centre), a line or words, in pixels from the top left."""

    shape: Shape
    x: float
    y: float
    width: float
    height: float
    colour: str
    words: str = ""
    faint: bool = False


class Layout(NamedTuple):
    """A picture before it is drawn. Pixels."""

    width: int
    height: int
    marks: tuple[Mark, ...]


def layout_of(roadmap: Roadmap) -> Layout:
    """Where everything lies: a row for every phase and every task."""
    first = min(phase.begins for phase in roadmap.phases)
    first -= timedelta(days=first.weekday())
    last = max(phase.ends for phase in roadmap.phases)
    rows = sum(_ROW + sum(_height(_lines(task)) for task in phase.tasks) for phase in roadmap.phases)
    width = _LEFT + ((last - first).days + 1) * _DAY + _RIGHT
    height = _TOP + rows + 12
    marks = [*_weeks(first, last, height), *_rows(roadmap.phases, first, width)]
    return Layout(width, height, tuple(marks))


def svg_of(roadmap: Roadmap) -> str:
    """The picture as SVG, complete in itself."""
    layout = layout_of(roadmap)
    drawn = "\n".join(_svg(mark) for mark in layout.marks)
    size = f'width="{layout.width}" height="{layout.height}" viewBox="0 0 {layout.width} {layout.height}"'
    title = html.escape(f"Roadmap from {roadmap.start} to {max(phase.ends for phase in roadmap.phases)}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="{_SMALL}">\n'
        f"<title>{title}</title>\n"
        f'<rect width="{layout.width}" height="{layout.height}" fill="#ffffff"/>\n{drawn}\n</svg>\n'
    )


def png_of(roadmap: Roadmap, scale: int = 2) -> bytes:
    """The picture as PNG, ``scale`` pixels for each of the layout's."""
    from PIL import Image, ImageDraw, ImageFont

    layout = layout_of(roadmap)
    image = Image.new("RGB", (layout.width * scale, layout.height * scale), "#ffffff")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=_SMALL * scale)
    for mark in layout.marks:
        x, y, w, h = (scale * side for side in (mark.x, mark.y, mark.width, mark.height))
        colour = _lighter(mark.colour) if mark.faint else mark.colour
        match mark.shape:
            case "box":
                draw.rectangle((x, y, x + w, y + h), fill=colour)
            case "line":
                draw.line((x, y, x + w, y + h), fill=colour, width=scale)
            case "diamond":
                draw.polygon([(x, y - h), (x + w, y), (x, y + h), (x - w, y)], fill=colour)
            case "text":
                draw.text((x, y), mark.words, fill=colour, font=font, anchor="ls")
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _weeks(first: date, last: date, height: int) -> Iterator[Mark]:
    """Lines at Mondays, with dates where there is room."""
    every = -(-_DATE_WIDTH // (7 * _DAY))
    end = _LEFT + ((last - first).days + 1) * _DAY
    for number, day in enumerate(mondays(first, last)):
        x = _LEFT + (day - first).days * _DAY
        yield Mark("line", x, _TOP - 8, 0, height - _TOP, _LINE)
        if number % every == 0 and x + _DATE_WIDTH <= end + _RIGHT:
            year = f" {day:%Y}" if number == 0 else ""
            yield Mark("text", x + 3, _TOP - 14, 0, 0, _SOFT, f"{day.day} {day:%b}{year}")


def _rows(phases: Sequence[Phase], first: date, width: int) -> Iterator[Mark]:
    y = float(_TOP)
    for place, phase in enumerate(phases):
        colour = _COLOURS[place % len(_COLOURS)]
        yield Mark("box", 0, y, width, _ROW, _BAND)
        yield Mark("text", 8, y + 15, 0, 0, _INK, f"{phase.title} ({phase.done} of {len(phase.tasks)} done)")
        yield from _bar(phase.begins, phase.ends, first, y, colour, faint=True)
        for gate in phase.gates:
            if gate.when == "exit":
                x = _LEFT + ((gate.due - first).days + 1) * _DAY
                yield Mark("diamond", x, y + _ROW / 2, 6, 6, _INK, gate.measure)
                break
        y += _ROW
        for task in phase.tasks:
            lines = _lines(task)
            for number, line in enumerate(lines):
                down = y + 15 + number * _LEADING
                yield Mark("text", 20, down, 0, 0, _SOFT if task.done else _INK, line)
            yield from _bar(task.begins, task.ends, first, y, colour, faint=task.done, words=task.words)
            y += _height(lines)


def _bar(
    begins: date, ends: date, first: date, y: float, colour: str, *, faint: bool, words: str = ""
) -> Iterator[Mark]:
    x = _LEFT + (begins - first).days * _DAY
    length = ((ends - begins).days + 1) * _DAY
    yield Mark("box", x, y + (_ROW - _BAR) / 2, length, _BAR, colour, words, faint)


def _lines(task: Task) -> list[str]:
    """A task's words, all of them, in lines that fit beside the bars."""
    return textwrap.wrap(("done: " if task.done else "") + task.words.replace("`", ""), _LABEL, break_on_hyphens=False)


def _height(lines: Sequence[str]) -> int:
    return _ROW + (len(lines) - 1) * _LEADING


def _svg(mark: Mark) -> str:
    said = f"<title>{html.escape(mark.words)}</title>" if mark.words and mark.shape != "text" else ""
    opacity = ' opacity="0.35"' if mark.faint else ""
    match mark.shape:
        case "box":
            box = f'x="{mark.x:g}" y="{mark.y:g}" width="{mark.width:g}" height="{mark.height:g}"'
            return f'<rect {box} fill="{mark.colour}"{opacity}>{said}</rect>'
        case "line":
            ends = f'x1="{mark.x:g}" y1="{mark.y:g}" x2="{mark.x + mark.width:g}" y2="{mark.y + mark.height:g}"'
            return f'<line {ends} stroke="{mark.colour}"/>'
        case "diamond":
            x, y, w, h = mark.x, mark.y, mark.width, mark.height
            path = f"M{x:g} {y - h:g} L{x + w:g} {y:g} L{x:g} {y + h:g} L{x - w:g} {y:g} Z"
            return f'<path d="{path}" fill="{mark.colour}">{said}</path>'
        case "text":
            return f'<text x="{mark.x:g}" y="{mark.y:g}" fill="{mark.colour}">{html.escape(mark.words)}</text>'


def _lighter(colour: str) -> str:
    """A colour at the opacity of what is faint, on white."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.35 * (255 - part)):02x}" for part in parts)
