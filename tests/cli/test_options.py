"""From options to a request."""

from typing import get_args

import pytest

from filmgate.cli.options import REQUEST_OPTIONS, build_request, parse_size
from filmgate.spec import InvalidRequest, Precision, Request, Solver, UnknownName


def options(**given):
    return {"prompt": "a ball", **dict.fromkeys(o.name for o in REQUEST_OPTIONS), **given}


def test_no_option_leaves_everything_to_the_model():
    assert build_request(options()) == Request(prompt="a ball")


def test_every_field_of_a_request_has_an_option():
    names = {option.name for option in REQUEST_OPTIONS} - {"size", "guidance"}
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


@pytest.mark.parametrize(("name", "kind"), [("solver", Solver), ("precision", Precision)])
def test_the_help_names_every_choice(name, kind):
    option = next(option for option in REQUEST_OPTIONS if option.name == name)
    assert [choice for choice in get_args(kind) if choice not in option.default.help] == []


def test_an_empty_negative_prompt_is_not_the_default_one():
    assert build_request(options(negative="")).negative == ""
