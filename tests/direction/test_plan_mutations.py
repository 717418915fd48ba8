"""A test of the tests: what makes another video than the model's authors would is noticed in the official plan."""

import dataclasses

import pytest
from tests.direction.plan_cases import check_official_plan

from filmgate.direction import planner, presets
from filmgate.engine.sampling import experts, schedules
from filmgate.engine.sampling.guidance import Guidance

NAME = "wan2.2-t2v-a14b"


def change_preset(patch, **changes):
    changed = {**presets.PRESETS, NAME: presets.PRESETS[NAME].model_copy(update=changes)}
    patch.setattr(presets, "PRESETS", changed)


def guidance_listed_low_high(patch):
    """The original's tuple is (low, high)."""
    change_preset(patch, guidance_high=3.0, guidance_low=4.0)


def guidance_of_the_other_expert(patch):
    original = Guidance.scale
    other = {"high_noise": "low_noise", "low_noise": "high_noise"}
    patch.setattr(Guidance, "scale", lambda self, expert: original(self, other[expert]))


def one_guidance_for_both(patch):
    original = planner._guidance
    patch.setattr(planner, "_guidance", lambda *args: dataclasses.replace(original(*args), high=3.0))


def shift_of_diffusers(patch):
    change_preset(patch, shift=3.0)


def boundary_of_image_to_video(patch):
    change_preset(patch, boundary=0.9)


def boundary_is_half_of_the_steps(patch):
    def half(timesteps, boundary):
        count = len(list(timesteps))
        return tuple("high_noise" if index < count / 2 else "low_noise" for index in range(count))

    patch.setattr(planner, "experts_per_step", half)


def experts_named_the_other_way_round(patch):
    """In VideoX-Fun ``transformer`` is the low-noise expert, in Diffusers the high-noise one."""
    other = {"high_noise": "low_noise", "low_noise": "high_noise"}
    original = experts.experts_per_step
    patch.setattr(planner, "experts_per_step", lambda *args: tuple(other[name] for name in original(*args)))


def timesteps_not_cut(patch):
    patch.setattr(planner, "timestep", lambda sigma, _: 1000 * sigma)


def grid_from_one(patch):
    patch.setitem(schedules._START, "unipc", 1.0)


def commas_normalised(patch):
    change_preset(patch, negative=presets.NEGATIVE.replace("，", ", "))


def no_negative_prompt(patch):
    change_preset(patch, negative="")


def size_read_as_height_and_width(patch):
    change_preset(patch, sizes=((720, 1280), (1280, 720), (480, 832), (832, 480)))


def frames_of_the_small_model(patch):
    change_preset(patch, frames=121, fps=24)


MUTATIONS = (
    guidance_listed_low_high,
    guidance_of_the_other_expert,
    one_guidance_for_both,
    shift_of_diffusers,
    boundary_of_image_to_video,
    boundary_is_half_of_the_steps,
    experts_named_the_other_way_round,
    timesteps_not_cut,
    grid_from_one,
    commas_normalised,
    no_negative_prompt,
    size_read_as_height_and_width,
    frames_of_the_small_model,
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mistake_is_noticed(monkeypatch, mutation):
    check_official_plan()
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        check_official_plan()
