"""Old beside new: every part has a row, HTML holds nothing that runs, and a batch adds up."""

from html.parser import HTMLParser

import pytest

from filmgate.direction.migration.comparison import facts_text, headline, html_page, rows_of, settings_text, summary
from filmgate.direction.migration.migrate import Options, migrate

GUIDE = "camera_movement: dolly_forward, speed: 2.5, lighting: key_light_45deg"
HOSTILE = 'subject: <script>alert(1)</script> & "x", camera: pan left, style: <img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """Tags and text of a page; unclosed or crossed tags are an error."""

    VOID = ("meta", "br")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_every_part_has_a_row_in_the_order_of_the_source():
    made = migrate(GUIDE)
    rows = rows_of(made)
    assert len(rows) == len(made.ledger.entries)
    assert rows[0].before == "dolly_forward"
    assert (rows[1].before, rows[1].fate, rows[1].after) == ("2.5", "approximated", "quickly")


def test_a_default_is_labelled():
    made = migrate(GUIDE, Options(defaults=(("subject", "a red ball"),)))
    assert "(allowed default) subject: a red ball" in {row.before for row in rows_of(made)}


@pytest.mark.parametrize(
    ("text", "words"),
    [(GUIDE, "Incomplete: subject, scene, action; coverage 100%"), ("A cat sleeps.", "unchanged"),
     ("time: day, time: night, subject: a cat", "Contradictory")],
)  # fmt: skip
def test_the_headline_says_the_state(text, words):
    assert words in headline(migrate(text))


def test_the_page_is_whole_marks_old_and_new_and_needs_nothing_else():
    page = Page(
        html_page([migrate(GUIDE), migrate("A cat sleeps."), migrate("time: day, time: night, subject: a cat")])
    )
    assert "The camera quickly dollies forward." in page.text
    assert "dolly_forward" in page.text
    marks = [attrs["class"] for tag, attrs in page.tags if tag == "mark"]
    assert {"keep", "near", "move", "lost"} <= set(marks)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert "3 prompts: 1 unchanged, 1 incomplete, 1 conflict; mean coverage 66.7%" in page.text


def test_a_hostile_prompt_stays_text():
    page = Page(html_page([migrate(HOSTILE)]))
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert "alert(1)" in page.text


@pytest.mark.parametrize("text", ["İ subject: İstanbul, camera: pan left", "subject: ẞ, shot: wide", "a\n\nb: c"])
def test_letters_that_change_their_length_do_not_shift_marks(text):
    Page(html_page([migrate(text)]))


def test_a_batch_adds_up():
    made = [migrate(GUIDE), migrate("A cat sleeps."), migrate("time: day, time: night, subject: a cat")]
    counts = summary(made)
    assert (counts["prompts"], counts["incomplete"], counts["unchanged"], counts["conflict"]) == (3, 1, 1, 1)
    assert counts["passed"] == 2
    assert sum(value for name, value in counts.items() if name.startswith("fate:")) == sum(
        len(migration.ledger.entries) for migration in made
    )
    assert summary([])["coverage"] == 1.0
    assert facts_text(counts, ["2 empty"]) == "1 unchanged, 1 incomplete, 1 conflict, 2 empty; mean coverage 66.7%"


def test_settings_are_told_as_people_write_them():
    made = migrate("a cat <lora:cat:0.8> <lora:dog:1> --seed 4; camera: pan left")
    assert settings_text(made) == "seed 4, lora cat at 0.8 and dog at 1"
    assert "Settings</h3><p>seed 4, lora cat at 0.8 and dog at 1</p>" in html_page([made])
