"""Request to dialect to request: the same settings, or an entry that says which are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.interchange.dialects import EXPORTERS, export_settings, import_settings
from filmgate.direction.interchange.settings import settings_of
from filmgate.spec import FilmgateError, InvalidRequest, LoraChoice, Request

MODEL = "Wan2.2-T2V-A14B"
WISHES = st.builds(
    Request,
    prompt=st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=30),
    negative=st.none() | st.text(st.characters(codec="utf-8"), max_size=10),
    model=st.just(MODEL),
    width=st.integers(1, 90).map(lambda n: 16 * n),
    height=st.integers(1, 90).map(lambda n: 16 * n),
    frames=st.none() | st.integers(0, 40).map(lambda n: 4 * n + 1),
    fps=st.none() | st.integers(1, 60),
    steps=st.none() | st.integers(2, 60),
    shift=st.none() | st.floats(1.0, 20.0),
    solver=st.sampled_from([None, "unipc", "dpmpp_2m", "euler", "lcm", "res_multistep"]),
    guidance_high=st.none() | st.floats(1.0, 12.0),
    guidance_low=st.none() | st.floats(1.0, 12.0),
    boundary=st.none() | st.floats(0.05, 0.98),
    seed=st.none() | st.integers(0, 2**63 - 1),
)
FIELDS = (
    "width",
    "height",
    "frames",
    "fps",
    "steps",
    "shift",
    "solver",
    "guidance_high",
    "guidance_low",
    "negative",
    "seed",
)


@pytest.mark.parametrize("dialect", EXPORTERS)
@given(wish=WISHES)
def test_settings_survive_or_are_said_to_differ(dialect, wish):
    before = settings_of(wish, None)
    try:
        made = export_settings(wish, dialect)
    except FilmgateError:
        assert dialect == "comfyui"
        assert before.high_steps in (0, before.steps)
        return
    found = import_settings(made.text, dialect).request
    after = settings_of(found, "wan2.2-t2v-a14b")
    said = {entry.field.replace("guidance_low", "guidance") for entry in made.entries if entry.fate == "dropped"}
    assert found.prompt == wish.prompt
    for field in FIELDS:
        if field.split("_")[0] not in said:
            assert getattr(after, field) == getattr(before, field), field
    if not said & {"boundary", "solver"}:
        assert after.high_steps == before.high_steps


def test_lightx2v_keeps_loras_and_presets():
    lora = (LoraChoice(path="a.safetensors", strength=0.5),)
    wish = Request(prompt="a ball", model=MODEL, distilled="lightning", lora_high=lora, lora=lora)
    found = import_settings(export_settings(wish, "lightx2v").text).request
    assert (found.distilled, found.lora_high, found.lora, found.steps) == ("lightning", lora, lora, 4)
    assert (found.guidance_high, found.guidance_low) == (1.0, 1.0)


@pytest.mark.parametrize("prompt", ["-:", "--task x", "it's\\\n'so'", "\\", '"', "\n a", "generate.py"])
@pytest.mark.parametrize("dialect", EXPORTERS)
def test_no_prompt_is_taken_for_an_option(dialect, prompt):
    made = export_settings(Request(prompt=prompt, model=MODEL), dialect)
    assert import_settings(made.text).request.prompt == prompt


def test_a_command_line_may_go_on_in_the_next_line():
    found = import_settings("python generate.py \\\n --task t2v-A14B \\\n--prompt 'a ball'").request
    assert (found.prompt, found.boundary) == ("a ball", 0.875)


@pytest.mark.parametrize("dialect", ["comfyui", "diffusers", "lightx2v"])
def test_loras_travel_to_their_expert(dialect):
    a, b, c = (LoraChoice(path=f"{name}.safetensors", strength=0.5) for name in "abc")
    wish = Request(prompt="a", model=MODEL, lora=(a,), lora_high=(b,), lora_low=(c,))
    made = export_settings(wish, dialect)
    assert not {"lora", "lora_high", "lora_low"} & {entry.field for entry in made.differing}
    found = import_settings(made.text).request
    assert (found.lora + found.lora_high, found.lora + found.lora_low) == ((a, b), (a, c))
    dense = Request(prompt="a", model="Wan2.1-T2V-14B", lora=(a,))
    assert import_settings(export_settings(dense, dialect).text).request.lora == (a,)


@pytest.mark.parametrize("dialect", ["comfyui", "diffusers"])
def test_a_lora_of_an_expert_needs_two(dialect):
    with pytest.raises(InvalidRequest, match="lora_high"):
        export_settings(Request(prompt="a", model="Wan2.1-T2V-14B", lora_low=(LoraChoice(path="a"),)), dialect)


@pytest.mark.parametrize("dialect", ["official"])
def test_loras_that_have_no_word_are_said_to_be_dropped(dialect):
    wish = Request(prompt="a", model=MODEL, lora=(LoraChoice(path="a"), LoraChoice(path="b", strength=0.5)))
    made = export_settings(wish, dialect)
    assert {entry.field: entry.before for entry in made.differing}["lora"] == "a:1, b:0.5"


@pytest.mark.parametrize("dialect", EXPORTERS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", -3), ("frames", 50), ("frames", 0), ("shift", -1.0), ("boundary", 2.0), ("seed", -5),
        ("guidance_high", -4.0), ("guidance_low", float("nan")),
    ],
)  # fmt: skip
def test_what_no_plan_takes_no_other_tool_is_told(dialect, field, value):
    with pytest.raises(InvalidRequest, match=field):
        export_settings(Request(prompt="a", model=MODEL, **{field: value}), dialect)


@pytest.mark.parametrize("dialect", EXPORTERS)
def test_one_transformer_has_one_scale(dialect):
    wish = Request(prompt="a", model="Wan2.1-T2V-14B", guidance_high=4.0, guidance_low=3.0)
    with pytest.raises(InvalidRequest, match=r"guidance_high: .*one transformer"):
        export_settings(wish, dialect)
    export_settings(wish.model_copy(update={"guidance_high": 3.0}), dialect)


@pytest.mark.parametrize("dialect", EXPORTERS)
def test_a_picture_travels(dialect):
    wish = Request(prompt="a", model="Wan2.2-I2V-A14B", image="a.png", area=832 * 480)
    made = export_settings(wish, dialect)
    assert import_settings(made.text).request.image == "a.png"
    assert ("area" in {entry.field for entry in made.differing}) == (dialect != "official")


def test_a_size_with_a_picture_is_only_an_area_to_generate_py():
    wish = Request(prompt="a", model="Wan2.2-I2V-A14B", image="a.png", width=832, height=480)
    assert "size" in {entry.field for entry in export_settings(wish, "official").differing}


@pytest.mark.parametrize("dialect", ["diffusers", "lightx2v", "official"])
def test_a_name_of_ours_is_no_path_of_theirs(dialect):
    made = export_settings(Request(prompt="a", model="wan2.2-t2v-a14b"), dialect)
    assert "model" in {entry.field for entry in made.differing}
    assert "--ckpt_dir" not in made.text
    assert "model" not in {
        entry.field for entry in export_settings(Request(prompt="a", model=MODEL), dialect).differing
    }


@pytest.mark.parametrize("model", [None, "weights"])
def test_without_a_model_the_way_out_is_said(model):
    with pytest.raises(InvalidRequest, match=r"--variant NAME, of .*wan2\.2-t2v-a14b"):
        export_settings(Request(prompt="a", model=model), "official")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("dialect", ["lightx2v", "diffusers"])
@given(data=st.data())
def test_wrong_types_are_named_errors(dialect, data):
    good = json.loads(export_settings(Request(prompt="a", model=MODEL), dialect).text)
    field = data.draw(st.sampled_from([*good, *good.get("call", {})]))
    target = good if field in good else good["call"]
    target[field] = data.draw(VALUES)
    try:
        found = import_settings(json.dumps(good), dialect)
    except FilmgateError:
        return
    assert found.request.model_dump_json()


@given(text=st.text())
def test_any_text_is_a_request_or_a_named_error(text):
    for full in (text, f"generate.py --prompt a {text}"):
        try:
            found = import_settings(full)
        except FilmgateError:
            continue
        assert found.request.prompt
