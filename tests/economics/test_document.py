"""One report, three forms."""

import html.parser
import re

from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.document import (
    Bullets,
    Document,
    Drawing,
    Heading,
    Table,
    Ticks,
    Verdict,
    Words,
    html_of,
    markdown_of,
    text_of,
)

REPORT = Document(
    "Title",
    "About <this>",
    (
        Verdict("Do it.", "Because of `a_b`."),
        Heading("Numbers"),
        Table(("name", "count"), (("a|b", "1"), ("c", "12")), frozenset({1})),
        Bullets(("one", "two")),
        Ticks((("x-1", "first", True), ("x-2", "second", False))),
        Drawing("<svg></svg>", "A drawing", "a.svg"),
        Words("The end."),
    ),
)


class Outline(html.parser.HTMLParser):
    """What is open at the end, and every element that there was."""

    VOID = ("meta", "br", "hr", "img")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.words = [], [], ""

    def handle_starttag(self, tag, _attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def outline(page):
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_text_lines_numbers_up_on_the_right():
    text = text_of(REPORT)
    assert "name  count\na|b       1\nc        12" in text
    assert "[x] first\n[ ] second" in text
    assert "Numbers\n-------" in text


def test_long_cells_go_on_in_the_next_line():
    text = text_of(Document("t", "", (Table(("a", "b"), (("x " * 40, "y"),)),)))
    assert max(map(len, text.splitlines())) < 70
    assert text.count("x") == 40


def test_markdown_escapes_what_would_be_markup():
    text = markdown_of(REPORT)
    assert "About \\<this\\>" in text
    assert "| a\\|b | 1 |" in text
    assert "| --- | ---: |" in text
    assert "- [x] first <!-- x-1 -->" in text
    assert "Because of `a_b`." in text
    assert "![A drawing](a.svg)" in text


def test_html_is_one_page_that_loads_nothing():
    page = html_of(REPORT)
    assert "About &lt;this&gt;" in page
    assert not re.search(r"(?:src|href)=|@import|url\(", page)
    assert not {"script", "link", "iframe", "img"} & set(outline(page).seen)
    assert "<svg></svg>" in page


def test_a_drawing_without_a_file_is_left_out_of_text_and_markdown():
    drawing = Document("t", "", (Drawing("<svg/>", "seen"),))
    assert markdown_of(drawing) == "# t\n"
    assert "seen" not in text_of(drawing)
    assert "A drawing: a.svg" in text_of(REPORT)


@given(st.text(max_size=40))
def test_whatever_is_written_stays_words(text):
    document = Document(
        text, text, (Heading(text), Words(text), Table((text,), ((text,),)), Bullets((text,)),
                     Ticks(((text, text, False),)), Verdict(text, text), Drawing("<svg></svg>", text)),
    )  # fmt: skip
    seen = outline(html_of(document)).seen
    assert set(seen) <= {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "table",
                         "thead", "tbody", "tr", "th", "td", "ul", "li", "section", "figure", "figcaption", "svg",
                         "span", "code"}  # fmt: skip
    rows = [line for line in markdown_of(document).splitlines() if line.startswith("| ")]
    assert len(rows) == 3
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 2 for row in rows)
    text_of(document)
