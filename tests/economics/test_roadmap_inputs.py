"""Reading what other commands print."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.economics.cases import assessed, needs

from filmgate.direction.interchange.dialects import import_settings
from filmgate.direction.upgrade import upgrade
from filmgate.economics.roadmap_inputs import PromptFacts, read_assessment, read_costs, read_prompts, read_upgrade
from filmgate.spec import InvalidRequest

BATCH = {
    "summary": {"complete": 1},
    "prompts": [
        {"source": "a", "prompt": "b", "status": "complete", "coverage": 0.5, "missing": []},
        {"source": "c", "prompt": "c", "status": "unchanged", "coverage": 1.0, "missing": []},
        {"source": "d", "status": "error", "notes": ["too long"]},
        {"source": "e", "prompt": "", "status": "conflict", "coverage": 0.75},
    ],
}
FACTS = PromptFacts(complete=1, unchanged=1, error=1, conflict=1, lowest_coverage=0.5, mean_coverage=0.75)


def test_a_batch_and_the_same_line_by_line():
    assert read_prompts(json.dumps(BATCH)) == FACTS
    assert read_prompts("\n".join(map(json.dumps, BATCH["prompts"]))) == FACTS
    assert (FACTS.count, FACTS.for_people) == (4, 2)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"migration": one, "rejected": ""}])
def test_a_single_prompt_tells_its_coverage_by_its_ledger(wrap):
    entries = [
        {"fate": "kept_exact", "required": True}, {"fate": "dropped", "required": True},
        {"fate": "dropped", "required": False}, {"fate": "moved_to_request", "required": True},
    ]  # fmt: skip
    found = read_prompts(json.dumps(wrap({"status": "incomplete", "text": "x", "ledger": {"entries": entries}})))
    assert found == PromptFacts(incomplete=1, lowest_coverage=2 / 3, mean_coverage=2 / 3)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"prompts": []}', '{"prompts": 4}', '{"prompts": [4]}', '{"prompts": [{"status": "fine"}]}',
     '{"prompts": [{"status": "complete"}]}', '{"status": "complete", "coverage": 2}', "null", "4"],
)  # fmt: skip
def test_what_is_no_migration_is_refused(text):
    with pytest.raises(InvalidRequest, match=r"prompts: .*filmgate migrate prompt"):
        read_prompts(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["prompts", "status", "coverage", "ledger", "entries", "migration"]), inner
            )
        ),
    )
)
def test_any_json_is_read_or_refused(value):
    try:
        read_prompts(json.dumps(value))
    except InvalidRequest:
        return


def test_assessment_and_setup_come_back_as_they_were():
    made = assessed(needs(cards=("h100",)))
    assert read_assessment(json.dumps(made.model_dump(mode="json"))) == made
    changed = upgrade(import_settings("python generate.py --task t2v-14B --prompt x"))
    assert read_upgrade(json.dumps(changed.model_dump(mode="json"))) == changed


@pytest.mark.parametrize(("read", "field"), [(read_assessment, "assessment"), (read_upgrade, "config")])
@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 1}'])
def test_what_is_neither_is_refused(read, field, text):
    with pytest.raises(InvalidRequest, match=f"{field}: "):
        read(text)


COSTS = {
    "currency": "USD",
    "options": [
        {"name": "rented-2.1", "kind": "pod", "model": "wan2.1-t2v-14b", "amortised": 2.77, "loaded": 3.0},
        {"name": "hosted-2.1", "kind": "hosted", "model": "wan2.1-t2v-14b", "amortised": 0.45, "loaded": 1.0},
        {"name": "rented-2.2", "kind": "pod", "model": "wan2.2-t2v-a14b", "amortised": 1.31, "loaded": 2.0},
        {"name": "fast-2.2", "kind": "serverless", "model": "wan2.2-t2v-a14b+lightning", "amortised": 0.2, "loaded": 2},
        {"name": "local-5b", "kind": "local", "model": "wan2.2-ti2v-5b", "amortised": 0.74, "loaded": 2.0},
    ],
    "prices": [{"id": "a", "stale": True}, {"id": "b", "stale": False}],
}
RETURN = COSTS | {
    "baseline": "hosted-2.1", "candidate": "local-5b", "comparison": {"break_even": {"text": "never"}},
    "simulation": {"chance_of_break_even_by_month": {"12": 0.5, "4": 0.0}},
}  # fmt: skip


def test_costs_tell_what_is_paid_today_and_what_is_planned():
    found = read_costs(json.dumps(COSTS))
    assert (found.currency, found.prices, found.stale, found.break_even) == ("USD", 2, 1, None)
    assert found.today.name == "rented-2.1"
    assert found.planned("wan2.2-t2v-a14b", "rented").name == "rented-2.2"
    assert found.planned("wan2.2-t2v-a14b", "pay_per_use").name == "fast-2.2"
    assert found.planned("wan2.2-ti2v-5b", "rented").name == "local-5b"
    assert found.planned("wan2.2-i2v-a14b", "rented") is None
    assert found.planned(None, None) is None


def test_a_comparison_names_its_two_options():
    found = read_costs(json.dumps(RETURN))
    assert (found.today.name, found.planned(None, None).name) == ("hosted-2.1", "local-5b")
    assert found.planned("wan2.2-t2v-a14b", "rented").name == "rented-2.2"
    assert (found.break_even, found.chance_by_month) == ("never", ((4, 0.0), (12, 0.5)))


@pytest.mark.parametrize(
    "changed",
    [{"options": []}, {"options": None}, {"options": [4]}, {"options": [{"name": "a"}]}, {"currency": 4},
     {"prices": [{}]}, {"prices": 4}, {"simulation": 4}, {"comparison": 5}],
)  # fmt: skip
def test_what_are_no_costs_is_refused(changed):
    with pytest.raises(InvalidRequest, match=r"costs: .*filmgate cost --json"):
        read_costs(json.dumps(COSTS | changed))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}"])
def test_what_is_nothing_of_the_kind_is_refused(text):
    with pytest.raises(InvalidRequest, match="costs: "):
        read_costs(text)
