"""The plan that T2V-A14B must have, written down once for the tests and for the tests of the tests."""

from tests.direction.models import H200, model_of, words

from filmgate.direction import planner
from filmgate.spec import Request


def check_official_plan():
    """Wan 2.2 T2V-A14B without any option, as its authors' command line runs it."""
    made = planner.plan(Request(prompt="a cat"), model_of("wan2.2-t2v-a14b"), H200, words)
    assert (made.video.width, made.video.height, made.video.frames, made.fps) == (1280, 720, 81, 16)
    assert (made.latent.channels, made.latent.frames, made.latent.height, made.latent.width) == (16, 21, 90, 160)
    assert (made.solver, made.shift, made.boundary, made.precision) == ("unipc", 12.0, 0.875, "bf16")
    assert [(step.expert, step.guidance) for step in made.steps] == [("high_noise", 4.0)] * 26 + [
        ("low_noise", 3.0)
    ] * 14
    assert [step.timestep for step in made.steps[:3]] == [999.0, 997.0, 995.0]
    assert [step.timestep for step in made.steps[24:28]] == [888.0, 877.0, 865.0, 852.0]
    assert sum(step.passes for step in made.steps) == 80
    assert made.negative.startswith("色调艳丽，")
    assert made.warnings == ()
