"""A dated way: from inputs to phases, tasks, gates and risks, and from paper back to what is done."""

import csv
import io
import itertools
import json
import re
from datetime import date, timedelta
from xml.etree import ElementTree

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.economics.cases import assessed, machine, needs

from filmgate.direction.interchange.dialects import import_settings
from filmgate.direction.interchange.report import Imported
from filmgate.direction.upgrade import upgrade
from filmgate.economics.document import html_of, markdown_of, text_of
from filmgate.economics.gantt import layout_of, png_of, svg_of
from filmgate.economics.roadmap import Roadmap, roadmap
from filmgate.economics.roadmap_document import roadmap_document
from filmgate.economics.roadmap_exports import calendar_of, table_of
from filmgate.economics.roadmap_inputs import CostFacts, Inputs, OptionCost, PromptFacts
from filmgate.economics.roadmap_tasks import PHASES, ROLES
from filmgate.economics.sizing import sizes_of
from filmgate.economics.ticks import Done, earlier_of, start_mark
from filmgate.spec import InvalidRequest, LoraChoice, Request

START, TODAY = date(2026, 12, 1), date(2026, 11, 30)
PROMPTS = PromptFacts(complete=110, unchanged=10, incomplete=14, conflict=3, lowest_coverage=0.6, mean_coverage=0.97)
LORAS = (LoraChoice(path="style.safetensors"), LoraChoice(path="lightx2v_distill.safetensors"))


def full(**answers):
    """Everything known."""
    wanted = needs(**{"now_model": "wan2.1-t2v-14b", "now_card": "h100", "cards": ("h100",), "growth": 8.0} | answers)
    setup = Imported(dialect="official", request=Request(prompt="a", lora=LORAS), entries=(), variant="wan2.1-t2v-14b")
    return Inputs(assessment=assessed(wanted), prompts=PROMPTS, upgrade=upgrade(setup))


FULL, NOTHING = full(), Inputs()
MADE, BARE = (roadmap(inputs, START, TODAY) for inputs in (FULL, NOTHING))


def task(made, name):
    return next(task for task in made.tasks if task.id == name)


def gate(made, name):
    return next(gate for gate in made.gates if gate.id == name)


@pytest.mark.parametrize("made", [MADE, BARE])
def test_the_guides_phases_in_its_weeks(made):
    assert [phase.id for phase in made.phases] == list(PHASES)
    weeks = [(phase.begins - START).days // 7 + 1 for phase in made.phases]
    assert weeks[:2] == [1, 2]
    assert weeks[2] in (3, 4)
    assert weeks[3] >= 4
    for one, two in itertools.pairwise(made.phases):
        assert two.begins > one.begins
        assert two.begins > one.ends or two.id == "validation"
    assert (made.phases[4].ends - made.phases[4].begins).days >= 25
    assert (made.phases[5].ends - made.phases[4].begins).days >= 80


@pytest.mark.parametrize("made", [MADE, BARE])
def test_every_phase_has_tasks_gates_with_numbers_and_a_way_back(made):
    for phase in made.phases:
        leave = [gate for gate in phase.gates if gate.when == "exit"]
        assert phase.tasks
        assert phase.rollback
        assert sum(bool(re.search(r"\d", gate.target)) for gate in leave) >= 2
        assert all(gate.due == phase.ends for gate in leave)
        assert all(gate.due == phase.begins for gate in phase.gates if gate.when == "entry")
    assert all(any(g.when == "entry" for g in phase.gates) for phase in made.phases[1:])


@pytest.mark.parametrize("made", [MADE, BARE])
def test_tasks_come_after_what_they_need_on_working_days_and_have_owners(made):
    ends = {task.id: task.ends for task in made.tasks}
    assert len(ends) == len(made.tasks)
    for one in made.tasks:
        assert one.role in ROLES
        assert one.begins <= one.ends
        assert one.begins.weekday() < 5
        assert all(ends[name] < one.begins for name in one.after)
        assert one.because


def test_sizes_come_from_what_was_given():
    assert "Migrate 137 prompts" in task(MADE, "prompts.migrate").words
    assert (
        "Finish what needs a person (14 incomplete, 3 contradictory, 0 unreadable, of 137)"
        in task(MADE, "prompts.review").words
    )
    assert task(MADE, "prompts.review").days == pytest.approx((17 * 5 + 120 * 0.5) / 60 / 6, abs=0.01)
    seconds = FULL.assessment.recommended.setup.seconds
    old = FULL.assessment.today.setup.seconds
    sizes = sizes_of(FULL)
    assert sizes.machine_hours == pytest.approx(sizes.pairs * (old + 2 * seconds) / 3600)
    assert f"{sizes.machine_hours:.0f} GPU-hours" in task(MADE, "validation.old").words
    assert "wan2.2-ti2v-5b" in task(MADE, "assessment.fetch").words
    assert "1 LoRA that Wan 2.2 cannot take" in task(MADE, "integration.train").words
    assert "lowest now 60%" in gate(MADE, "prompts.exit.coverage").target
    assert "now 14 and 3" in gate(MADE, "prompts.exit.open").target


def test_what_was_not_given_is_assumed_aloud_and_not_invented():
    for words in ("no assessment was given", "no migrated prompts were given", "no setup of Wan 2.1 was given"):
        assert any(words in assumption for assumption in BARE.assumptions)
        assert not any(words in assumption for assumption in MADE.assumptions)
    assert BARE.goal == "Wan 2.2"
    assert "integration.exit.memory" not in {gate.id for gate in BARE.gates}
    text = text_of(roadmap_document(BARE, svg_of(BARE)))
    assert "GPU-hours" not in text
    assert "wan2.2-" not in text


def test_a_small_volume_begins_with_a_larger_share_that_shows_something():
    assert sizes_of(full(videos=150)).first_share == 0.5
    assert sizes_of(full(videos=2000)).first_share == 0.1
    few, many = (roadmap(full(videos=count), START, TODAY) for count in (150, 2000))
    assert "month_1.half" not in {task.id for task in few.tasks}
    assert "month_1.half" in {task.id for task in many.tasks}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"privacy": "own"}, "Buy and install"), ({"videos": 900}, "rent from"), ({"videos": 9000}, "Reserve or buy"),
        ({}, "spending limit"),
    ],
)  # fmt: skip
def test_the_machine_is_that_of_the_assessment(answers, words):
    assert words in task(roadmap(full(**answers), START, TODAY), "integration.machine").words


def test_flip_points_and_losses_are_risks():
    known = {risk.id: risk for risk in MADE.risks}
    assert {"usable", "speed", "flip-videos-more", "prompts", "lora", "disk", "gain"} <= set(known)
    assert "17 of 137" in known["prompts"].words
    flip = next(flip for flip in FULL.assessment.flips if flip.condition.endswith("more"))
    assert flip.condition in known["flip-videos-more"].words
    assert {risk.id for risk in BARE.risks} == {"gain", "service", "drift"}


COSTS = CostFacts(
    currency="USD", prices=9, stale=7, baseline="rented", candidate="small", break_even="month 10",
    chance_by_month=((4, 0.0), (12, 0.85)),
    options=(
        OptionCost(name="rented", kind="pod", model="wan2.1-t2v-14b", amount=2.767),
        OptionCost(name="small", kind="serverless", model="wan2.2-ti2v-5b", amount=0.333),
    ),
)  # fmt: skip


def test_costs_are_named_in_tasks_gates_and_risks():
    made = roadmap(FULL.model_copy(update={"costs": COSTS}), START, TODAY)
    assert "2.77 USD (rented)" in task(made, "assessment.cost").words
    for name in ("validation.exit.cost", "quarter_1.exit.cost"):
        assert "reckoned 0.33 USD (small)" in gate(made, name).target
    known = {risk.id: risk for risk in made.risks}
    assert "7 of 9" in known["prices"].words
    assert "month 10" in known["payback"].words
    assert "85% by month 12" in known["payback"].sign
    assert not any("costs" in words for words in made.assumptions)


def test_costs_of_another_model_are_not_taken_for_the_planned_ones():
    other = COSTS.model_copy(update={"options": COSTS.options[:1], "candidate": None})
    made = roadmap(FULL.model_copy(update={"costs": other}), START, TODAY)
    assert "reckoned" not in gate(made, "quarter_1.exit.cost").target
    assert any("no option that was reckoned" in words for words in made.assumptions)
    assert any("no costs were given" in words for words in MADE.assumptions)


def test_inputs_that_contradict_are_named_and_no_amount_is_taken_from_them():
    best = FULL.assessment.recommended.setup
    agreeing = CostFacts(
        currency="USD", usable=150, seconds=5, resolution="720p",
        options=(
            OptionCost(name="rented", kind="pod", model="wan2.1-t2v-14b", amount=2.767, device="h100"),
            OptionCost(name="small", kind="serverless", model=best.model, amount=0.333, device="h100"),
        ),
    )  # fmt: skip

    def made(costs, **answers):
        return roadmap(full(**answers).model_copy(update={"costs": costs, "upgrade": None}), START, TODAY)

    fine = made(agreeing)
    assert fine.contradictions == ()
    assert "reckoned 0.33" in gate(fine, "quarter_1.exit.cost").target
    for change, word in (
        ({"usable": 180.0}, "volume"),
        ({"seconds": 10.0}, "length"),
        ({"resolution": "480p"}, "reso"),
    ):
        other = made(agreeing.model_copy(update=change))
        assert [words.startswith(word) for words in other.contradictions] == [True]
        assert not any("reckoned" in one.target for one in other.gates)
    for change, word in (({"kind": "pod"}, "deployment"), ({"device": "l40s"}, "device"),
                         ({"model": f"{best.model}+fastwan"}, "form")):  # fmt: skip
        options = (agreeing.options[0], agreeing.options[1].model_copy(update=change))
        other = made(agreeing.model_copy(update={"options": options}))
        assert [words.startswith(word) for words in other.contradictions] == [True]
        assert "reckoned" not in gate(other, "quarter_1.exit.cost").target
        assert "reckoned 2.77" in gate(other, "assessment.exit.cost").target
    text = " ".join(text_of(roadmap_document(other, "")).split())
    assert "Contradictions" in text
    assert other.contradictions[0] in text


def test_the_way_itself_has_a_price_that_a_return_can_count():
    best = FULL.assessment.recommended.setup
    costs = CostFacts(
        currency="USD", usable=150, seconds=5, resolution="720p", present_value=1328.0, median_value=146.0,
        chance_positive=0.525, options=(
            OptionCost(name="rented", kind="pod", model="wan2.1-t2v-14b", amount=3.0, usable=0.6),
            OptionCost(name="small", kind="serverless", model=best.model, amount=0.5, usable=0.8),
        ),
    )  # fmt: skip
    inputs = full().model_copy(update={"costs": costs, "upgrade": None})
    made = roadmap(inputs, START, TODAY, hourly=50.0)
    pairs, people = made.sizes.pairs, [one for one in made.tasks if not one.unattended]
    assert made.effort.compute == pytest.approx(pairs * 3.0 * 0.6 + (2 * pairs + 30) * 0.5 * 0.8)
    assert made.effort.person_days == pytest.approx(sum(one.days for one in people), abs=0.2)
    assert made.effort.labour == pytest.approx(50 * 8 * made.effort.person_days, rel=0.001)
    assert made.effort.gpu_hours == pytest.approx(made.sizes.machine_hours + 30 * best.seconds / 3600)
    setup, labour = made.effort.settings
    assert setup == f"--set small.move.setup={made.effort.compute:.0f}"
    assert labour == f"--set small.move.labour={made.effort.labour:.0f}"
    target = gate(made, "assessment.exit.pays").target
    assert "now 1,328 USD as planned, 146 in the middle, above 0 in 52%, without what this way costs" in target
    counted = inputs.model_copy(update={"costs": costs.model_copy(update={"move_counted": True})})
    assert "without" not in gate(roadmap(counted, START, TODAY), "validation.exit.pays").target
    text = " ".join(text_of(roadmap_document(made, "")).split())
    assert setup in text
    assert f"{made.effort.person_days:.1f} days" in text


def test_a_way_without_prices_says_so():
    assert (BARE.effort.compute, BARE.effort.labour, BARE.effort.settings) == (None, None, ())
    assert len(BARE.effort.priced) == 2
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidRequest, match="hourly"):
            roadmap(NOTHING, START, TODAY, hourly=wrong)


def test_settings_for_another_model_contradict():
    made = roadmap(full(quality="broadcast"), START, TODAY)
    small = roadmap(FULL, START, TODAY)
    assert made.contradictions == ()
    assert any("migrate config --to wan2.2-ti2v-5b" in words for words in small.contradictions)
    other = roadmap(full(quality="broadcast", now_model="wan2.1-t2v-1.3b"), START, TODAY)
    assert [words.startswith("today:") for words in other.contradictions] == [True]


def test_a_phase_that_should_be_over_is_late_until_it_is_ticked():
    assert MADE.late == ()
    first = MADE.phases[0]
    day = first.ends + timedelta(days=3)
    late = roadmap(FULL, START, day)
    assert [words.startswith(first.title) for words in late.late] == [True]
    assert "3 days ago" in late.late[0]
    assert late.late[0] in " ".join(text_of(roadmap_document(late, "")).split())
    ticked = [Done(id=one.id, words="") for one in (*first.tasks, *first.gates)]
    assert roadmap(FULL, START, day, ticked).late == ()
    assert roadmap(FULL, START, first.ends).late == ()
    assert len(roadmap(FULL, date(2020, 1, 1), TODAY).late) == len(PHASES)


def test_deadlines_are_gates():
    made = roadmap(full(deadline_minutes=45.0), START, TODAY)
    assert "45 min 00 s at most" in gate(made, "integration.exit.ready").target


def test_an_assessment_without_a_recommendation_still_gives_a_way():
    inputs = Inputs(assessment=assessed(needs(quality="broadcast", cards=("t4",), deadline_minutes=1.0)))
    made = roadmap(inputs, START, TODAY)
    assert any("recommends nothing" in words for words in made.assumptions)


def test_few_steps_are_compared_later_unless_they_are_used():
    assert "1 min" in task(MADE, "quarter_1.few_steps").words
    done = roadmap(full(few_steps_accepted=True), START, TODAY)
    assert "quarter_1.few_steps" not in {task.id for task in done.tasks}


def test_a_roadmap_survives_json():
    assert Roadmap.model_validate_json(json.dumps(MADE.model_dump(mode="json"))) == MADE


ids = [task.id for task in MADE.tasks] + [gate.id for gate in MADE.gates]


@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from(ids)), st.booleans())
def test_ticks_are_kept_whatever_else_changes(ticked, as_json):
    first = roadmap(FULL, START, TODAY, [Done(id=name, words="words") for name in sorted(ticked)])
    if as_json:
        paper = json.dumps(first.model_dump(mode="json"))
    else:
        paper = markdown_of(roadmap_document(first, "")) + start_mark(first.start)
    before = earlier_of(paper)
    assert (before.start, {one.id for one in before.done}) == (START, ticked)
    assert all(re.fullmatch("[0-9a-f]{8}", one.plan) for one in before.done)
    same = roadmap(FULL, before.start, TODAY, before.done)
    assert (same.phases, same.other_plan, same.no_longer) == (first.phases, (), ())
    again = roadmap(NOTHING, before.start, TODAY + timedelta(days=40), before.done)
    there = {task.id for task in again.tasks if task.done} | {gate.id for gate in again.gates if gate.passed}
    rest = {one.id for one in (*again.no_longer, *again.other_plan)}
    assert there | rest == ticked
    assert not there & rest
    assert again.start == START


def test_what_is_done_and_no_longer_planned_is_kept_over_two_rounds():
    first = roadmap(FULL, START, TODAY, [Done(id="integration.train", words="Train again")])
    second = roadmap(NOTHING, START, TODAY, earlier_of(markdown_of(roadmap_document(first, ""))).done)
    assert [one.id for one in second.no_longer] == ["integration.train"]
    third = roadmap(FULL, START, TODAY, earlier_of(markdown_of(roadmap_document(second, ""))).done)
    assert task(third, "integration.train").done
    assert third.no_longer == ()


def test_a_tick_does_not_move_to_another_task_of_the_same_id():
    names = ["assessment.fetch", "assessment.list", "assessment.exit.usable", "validation.new", "prompts.review"]
    small = roadmap(FULL, START, TODAY, [Done(id=name, words=name) for name in names])
    paper = markdown_of(roadmap_document(small, ""))
    large = roadmap(full(quality="commercial", usable_rate=0.5), START, TODAY, earlier_of(paper).done)
    assert "TI2V-5B" in task(small, "assessment.fetch").words
    assert "A14B" in task(large, "assessment.fetch").words
    assert not task(large, "assessment.fetch").done
    assert not task(large, "validation.new").done  # as many clips, of another model
    assert not gate(large, "assessment.exit.usable").passed  # of another number of attempts
    assert task(large, "assessment.list").done
    assert task(large, "prompts.review").done
    assert {one.id for one in large.other_plan} == {"assessment.fetch", "assessment.exit.usable", "validation.new"}
    shown = markdown_of(roadmap_document(large, ""))
    assert re.search(r"- \[x\] Fetch .*TI2V-5B.*<!-- assessment.fetch [0-9a-f]{8} -->", shown)
    back = roadmap(FULL, START, TODAY, earlier_of(shown).done)
    assert task(back, "assessment.fetch").done
    assert back.other_plan == ()


def test_progress_is_no_other_plan():
    ticked = [Done(id=name, words="w") for name in ("prompts.review", "prompts.exit.open", "prompts.exit.coverage")]
    paper = markdown_of(roadmap_document(roadmap(FULL, START, TODAY, ticked), ""))
    finished = FULL.model_copy(update={"prompts": PromptFacts(complete=127, unchanged=10)})
    made = roadmap(finished, START, TODAY, earlier_of(paper).done)
    assert task(made, "prompts.review").done
    assert gate(made, "prompts.exit.open").passed
    assert gate(made, "prompts.exit.coverage").passed


def test_people_tick_by_hand():
    text = markdown_of(roadmap_document(MADE, ""))
    line = next(line for line in text.splitlines() if "assessment.list" in line)
    for mark in ("x", "X"):
        ticked = text.replace(line, line.replace("- [ ]", f"* [{mark}]"))
        assert [one.id for one in earlier_of(ticked).done] == ["assessment.list"]


@given(st.text(max_size=200))
def test_any_text_is_an_earlier_roadmap_that_says_nothing_or_something(text):
    found = earlier_of(text)
    assert all(one.id for one in found.done)


def test_the_calendar_is_one_and_updates_itself():
    calendar = icalendar.Calendar.from_ical(calendar_of(MADE))
    events, todos = calendar.walk("VEVENT"), calendar.walk("VTODO")
    assert len(todos) == len(MADE.tasks)
    assert len(events) == len(MADE.phases) + len(MADE.gates)
    uids = [str(part["uid"]) for part in (*events, *todos)]
    assert len(set(uids)) == len(uids)
    moved = roadmap(FULL, START + timedelta(days=14), TODAY, [Done(id="assessment.list", words="")])
    later = icalendar.Calendar.from_ical(calendar_of(moved))
    assert {str(part["uid"]) for part in later.walk() if "uid" in part} == set(uids)
    first = next(part for part in later.walk("VTODO") if str(part["uid"]).startswith("assessment.list@"))
    assert str(first["status"]) == "COMPLETED"
    phase = next(part for part in events if str(part["summary"]) == "Assessment")
    assert phase.decoded("dtstart") == START
    assert phase.decoded("dtend") == MADE.phases[0].ends + timedelta(days=1)
    assert calendar_of(MADE) == calendar_of(MADE)


def test_the_table_has_every_task_and_gate_and_no_formulas():
    rows = list(csv.DictReader(io.StringIO(table_of(MADE), newline="")))
    assert [row["id"] for row in rows if row["kind"] == "task"] == [task.id for task in MADE.tasks]
    assert len(rows) == len(MADE.tasks) + len(MADE.gates)
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_the_picture_has_a_bar_for_every_task_inside_of_it():
    layout = layout_of(MADE)
    bars = [mark for mark in layout.marks if mark.shape == "box" and mark.words]
    assert len(bars) == len(MADE.tasks)
    for mark in layout.marks:
        assert 0 <= mark.x <= layout.width
        assert 0 <= mark.y <= layout.height
        assert mark.x + max(mark.width, 0) <= layout.width
    tree = ElementTree.fromstring(svg_of(MADE))
    assert tree.tag.endswith("svg")
    assert tree.get("width") == str(layout.width)


def test_the_picture_has_all_words_of_every_task():
    words = " ".join(mark.words for mark in layout_of(MADE).marks if mark.shape == "text")
    for one in MADE.tasks:
        assert one.words.replace("`", "") in words
    image = Image.open(io.BytesIO(png_of(MADE, scale=1)))
    bars = min(mark.x for mark in layout_of(MADE).marks if mark.shape == "box" and mark.words)
    column = image.crop((int(bars) - 3, 60, int(bars) - 2, image.height)).convert("RGB")
    inks = {pixel for _, pixel in column.getcolors()}
    assert inks <= {(255, 255, 255), (0xF3, 0xF5, 0xF7), (0xD5, 0xDA, 0xE0)}  # no letter reaches the bars


def test_the_picture_is_painted_too():
    image = Image.open(io.BytesIO(png_of(MADE)))
    layout = layout_of(MADE)
    assert image.size == (2 * layout.width, 2 * layout.height)
    bar = next(mark for mark in layout.marks if mark.shape == "box" and mark.words and not mark.faint)
    pixel = image.getpixel((int(2 * (bar.x + bar.width / 2)), int(2 * (bar.y + bar.height / 2))))
    assert "#{:02x}{:02x}{:02x}".format(*pixel[:3]) == bar.colour


def test_words_of_others_cannot_leave_the_picture():
    evil = Imported(dialect="official", request=Request(prompt="a", lora=(LoraChoice(path="</svg><script>"),)),
                    entries=(), variant="wan2.1-t2v-14b")  # fmt: skip
    made = roadmap(Inputs(upgrade=upgrade(evil)), START, TODAY, [Done(id="x", words="<script>alert(1)</script>")])
    svg = svg_of(made)
    ElementTree.fromstring(svg)
    assert "<script" not in html_of(roadmap_document(made, svg))


def test_a_setup_of_wan_22_needs_no_room_for_two():
    same = upgrade(import_settings("python generate.py --task ti2v-5B --size 1280*704 --prompt x"))
    assert "disk" not in {risk.id for risk in roadmap(Inputs(upgrade=same), START, TODAY).risks}


def test_a_machine_that_is_here_is_installed_on():
    wanted = needs(cards=())
    made = roadmap(Inputs(assessment=assessed(wanted, machine())), START, TODAY)
    assert "Install on this machine" in task(made, "integration.machine").words
