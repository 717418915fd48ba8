"""Reading what other commands print."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.economics.cases import assessed, needs

from filmgate.direction.interchange.dialects import import_settings
from filmgate.direction.upgrade import upgrade
from filmgate.economics.roadmap_inputs import PromptFacts, read_assessment, read_prompts, read_upgrade
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
