"""A plan for a model that lies on disk, with its own tokenizer."""

import pytest
from tests.direction.models import CPU

from filmgate.direction.planner import plan
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.spec import InvalidRequest, Request


def test_a_directory_is_planned_with_its_own_preset_and_tokens(wan_pair):
    model = describe(wan_pair)
    made = plan(Request(prompt="a red ball"), model, CPU, load_tokenizer(model).count)
    assert (made.video.width, made.video.height, made.video.frames, made.fps) == (32, 32, 5, 12)
    assert [(step.expert, step.guidance) for step in made.steps] == [("high_noise", 4.0)] * 2 + [("low_noise", 3.0)] * 2
    assert made.precision == "fp32"


def test_what_is_cut_is_what_the_tokenizer_cuts(wan_pair):
    model = describe(wan_pair)
    tokeniser = load_tokenizer(model)
    prompt = "a red ball rolls past a blue cube on grass at sunset and then on and on"
    assert tokeniser.cut(prompt)
    with pytest.raises(InvalidRequest) as error:
        plan(Request(prompt=prompt), model, CPU, tokeniser.count)
    cut = error.value.what.split('"')[1]
    assert prompt.endswith(cut)
    assert cut.endswith(tokeniser.cut(prompt)), "more than the tokenizer only by the word that is begun"
    assert len(cut.split()) - len(tokeniser.cut(prompt).split()) <= 1
