"""From options to a request."""

import re
from pathlib import Path
from typing import get_args

import pytest

from filmgate.cli.lora import parse_lora, split_expert
from filmgate.cli.options import REQUEST_OPTIONS, build_request, parse_size
from filmgate.direction.distilled import DISTILLED, NONE
from filmgate.spec import (
    GuidanceMethod,
    InvalidRequest,
    LoraChoice,
    Precision,
    Request,
    Solver,
    TextEncoderPlace,
    UnknownName,
    WeightFormat,
)


def options(**given):
    return {"prompt": "a ball", **dict.fromkeys(o.name for o in REQUEST_OPTIONS), **given}


def test_no_option_leaves_everything_to_the_model():
    assert build_request(options()) == Request(prompt="a ball")


def test_every_field_of_a_request_has_an_option():
    several = {"reference": "references", "size": "area"}
    names = {several.get(option.name, option.name) for option in REQUEST_OPTIONS} - {"guidance"}
    # previews are asked for when a video is made, not when it is planned
    assert names == set(Request.model_fields) - {"prompt", "preview_every"}


@pytest.mark.parametrize("text", ["160x96", "160X96", "160 x 96", "160×96", "160:96"])
def test_a_size_is_width_by_height(text):
    request = build_request(options(size=text))
    assert (request.width, request.height) == (160, 96)


@pytest.mark.parametrize("text", ["", "160", "x96", "160x", "a few", "-160x96", "16.5x96"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(InvalidRequest, match="160x96"):
        parse_size(text)


@pytest.mark.parametrize(("text", "area"), [("480p", 832 * 480), ("720P", 1280 * 720), (" 704p ", 1280 * 704)])
def test_a_size_may_be_an_area(text, area):
    request = build_request(options(size=text))
    assert (request.area, request.width, request.height) == (area, None, None)


def test_references_are_a_list():
    assert build_request(options(reference=["a.png", "b.png"])).references == ("a.png", "b.png")
    assert build_request(options(reference=[])).references == ()


def test_size_and_width_contradict_each_other():
    with pytest.raises(InvalidRequest, match="size"):
        build_request(options(size="160x96", width=160))


def test_guidance_is_for_both_experts_unless_one_has_its_own():
    request = build_request(options(guidance=3.0, guidance_low=1.0))
    assert (request.guidance_high, request.guidance_low) == (3.0, 1.0)


@pytest.mark.parametrize(("name", "value", "near"), [("solver", "unipcc", "unipc"), ("precision", "float32", "fp32")])
def test_an_unknown_choice_suggests_a_known_one(name, value, near):
    with pytest.raises(UnknownName) as caught:
        build_request(options(**{name: value}))
    assert caught.value.exit_code == 2
    assert near in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("solver", Solver),
        ("precision", Precision),
        ("guidance_method", GuidanceMethod),
        ("weights", WeightFormat),
        ("text_encoder", TextEncoderPlace),
    ],
)
def test_the_help_names_every_choice(name, kind):
    option = next(option for option in REQUEST_OPTIONS if option.name == name)
    assert [choice for choice in get_args(kind) if choice not in option.default.help] == []


@pytest.mark.parametrize(
    ("typed", "mode"),
    [
        ("one-expert", "one_expert"),
        ("one_expert", "one_expert"),
        ("resident", "resident"),
        ("streamed", "streamed"),
        ("auto", None),
        (None, None),
    ],
)
def test_memory_modes_as_they_are_typed(typed, mode):
    assert build_request(options(memory=typed)).memory == mode


def test_a_memory_mode_that_does_not_exist_suggests_one():
    with pytest.raises(UnknownName, match=r"there is no memory mode named 'stream'.*streamed"):
        build_request(options(memory="stream"))


def test_a_value_that_does_not_exist_is_called_what_it_is():
    with pytest.raises(UnknownName, match="there is no place of a video named 'middle'"):
        build_request(options(keep="middle"))
    with pytest.raises(UnknownName, match="there is no format of weights named 'fp4'"):
        build_request(options(weights="fp4"))


def test_an_empty_negative_prompt_is_not_the_default_one():
    assert build_request(options(negative="")).negative == ""


def test_the_help_names_every_few_step_preset():
    option = next(option for option in REQUEST_OPTIONS if option.name == "distilled")
    names, _, rest = option.default.help.partition(":")[2].partition(";")
    assert set(re.findall(r"[a-z][a-z0-9-]*", names)) - {"or"} == set(DISTILLED)
    assert rest.split()[0] == NONE


def test_loras_are_files_with_strengths():
    request = build_request(options(lora=["a.safetensors"], lora_high=["b.safetensors:0.8", "c:-1"], lora_low=[]))
    assert request.lora == (LoraChoice(path="a.safetensors"),)
    assert request.lora_high == (LoraChoice(path="b.safetensors", strength=0.8), LoraChoice(path="c", strength=-1.0))
    assert request.lora_low == ()


@pytest.mark.parametrize(
    ("text", "path", "strength"),
    [
        ("C:/a.safetensors", "C:/a.safetensors", 1.0),
        ("C:/a.safetensors:1e-1", "C:/a.safetensors", 0.1),
        ("folder/with:colon.pt:.5", "folder/with:colon.pt", 0.5),
        ("a.pt:0", "a.pt", 0.0),
    ],
)
def test_a_colon_before_a_number_is_a_strength(text, path, strength):
    assert parse_lora("lora", text) == LoraChoice(path=path, strength=strength)


def test_a_file_that_is_there_is_taken_as_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:2").write_bytes(b"")
    assert parse_lora("lora", "odd:2") == LoraChoice(path="odd:2")


@pytest.mark.parametrize("text", ["", ":0.5", "a.pt:nan", "a.pt:inf", "a.pt:"])
def test_what_is_no_file_with_a_strength_is_refused(text):
    with pytest.raises(InvalidRequest, match=r"lora_low: .*FILE or FILE:STRENGTH"):
        parse_lora("lora_low", text)


def test_a_word_before_a_lora_says_which_expert_it_is_for():
    options = {
        "prompt": "a cat",
        "lora": ["both:a.pt:0.5", "high:C:/b.pt:2", "c.pt", "low:d.pt"],
        "lora_high": ["e.pt"],
    }
    request = build_request(options)
    assert request.lora == (LoraChoice(path="a.pt", strength=0.5), LoraChoice(path="c.pt"))
    assert request.lora_high == (LoraChoice(path="C:/b.pt", strength=2.0), LoraChoice(path="e.pt"))
    assert request.lora_low == (LoraChoice(path="d.pt"),)


def test_a_word_before_a_colon_may_be_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "low:a.pt").write_bytes(b"")
    for text in ("low:a.pt", "high:0.8", "other:a.pt", "high", "C:/a.pt"):
        assert split_expert(text) == ("lora", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hgih:a.pt", r"lora: there is no expert named 'hgih'\. Allowed: both, high, low\. Nearest valid: high"),
        ("hgih:a.pt:0.5", r"there is no expert named 'hgih'"),
        ("a.pt:strong", r"lora: 'strong' is not the strength of a LoRA\. Allowed: a number.*Nearest valid: a\.pt:1"),
        ("high:a.pt:0,5", r"lora_high: '0,5' is not the strength of a LoRA"),
    ],
)
def test_a_slip_before_or_behind_a_file_that_is_there_is_named(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.pt").touch()
    with pytest.raises(InvalidRequest, match=words):
        build_request(options(lora=[text]))


def test_a_word_without_a_lora_is_refused():
    with pytest.raises(InvalidRequest, match=r"lora_high: .*names no LoRA"):
        build_request({"prompt": "a cat", "lora": ["high:"]})


def test_a_wrong_memory_mode_gets_the_names_of_the_command_line():
    with pytest.raises(UnknownName) as caught:
        build_request({"prompt": "a ball", "memory": "one-expart"})
    assert "'one-expart'" in str(caught.value)
    assert caught.value.allowed == "auto, one-expert, resident, sharded, streamed"
    assert caught.value.nearest == "one-expert"
