"""Plans that start from pictures and videos."""

import pytest
from tests.direction.models import H200, model_of, words

from filmgate.direction.planner import plan
from filmgate.spec import InputFile, InvalidRequest, Plan, Request

SQUARE = InputFile(role="image", path="/pictures/a.png", sha256="a" * 64, width=1024, height=1024)
LAST = InputFile(role="last_image", path="/pictures/b.png", sha256="b" * 64, width=1024, height=1024)
CLIP = InputFile(
    role="video", path="/videos/c.mp4", sha256="c" * 64, width=1920, height=1080, frames=300, fps=(24, 1)
)  # fmt: skip


def planned(variant, *inputs, **wishes):
    named = {file.role: file.path for file in inputs}
    return plan(Request(prompt="a cat", **named, **wishes), model_of(variant), H200, words, inputs)


def refused(*args, **wishes):
    with pytest.raises(InvalidRequest) as error:
        planned(*args, **wishes)
    return str(error.value)


def test_image_to_video_of_wan_22_is_the_official_one():
    made = planned("wan2.2-i2v-a14b", SQUARE)
    assert (made.operation, made.inputs, made.strength) == ("i2v", (SQUARE,), None)
    assert (made.video.width, made.video.height, made.video.frames, made.fps) == (960, 960, 81, 16)
    assert (made.shift, made.boundary) == (5.0, 0.9)
    assert [(step.expert, step.guidance) for step in made.steps] == [("high_noise", 3.5)] * 15 + [
        ("low_noise", 3.5)
    ] * 25
    assert [step.timestep for step in made.steps[13:17]] == [911.0, 902.0, 892.0, 882.0]
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("variant", "wishes", "shift", "size"),
    [
        ("wan2.1-i2v-14b-480p", {}, 3.0, (624, 624)),
        ("wan2.1-i2v-14b-720p", {}, 5.0, (960, 960)),
        ("wan2.1-i2v-14b-720p", {"area": 832 * 480}, 3.0, (624, 624)),
        ("wan2.1-flf2v-14b", {}, 16.0, (960, 960)),
        ("wan2.2-ti2v-5b", {}, 5.0, (960, 928)),
    ],
)
def test_the_others_have_their_own_sizes_and_shifts(variant, wishes, shift, size):
    inputs = (SQUARE, LAST) if "flf2v" in variant else (SQUARE,)
    made = planned(variant, *inputs, **wishes)
    assert (made.shift, made.video.width, made.video.height) == (shift, *size)
    assert made.warnings == ()


def test_negative_prompts_are_those_of_the_task():
    assert planned("wan2.1-i2v-14b-720p", SQUARE).negative.startswith("镜头晃动，色调艳丽")
    assert planned("wan2.1-flf2v-14b", SQUARE, LAST).negative.startswith("镜头切换，镜头晃动，色调艳丽")
    assert planned("wan2.2-i2v-a14b", SQUARE).negative.startswith("色调艳丽")
    assert planned("wan2.2-i2v-a14b", SQUARE, negative="").negative == ""


def test_one_picture_from_text():
    made = planned("wan2.1-t2v-14b", frames=1, width=1024, height=1024)
    assert (made.operation, made.video.frames, made.latent.frames, made.warnings) == ("t2i", 1, 1, ())


def test_a_video_enters_the_schedule_late_and_with_the_expert_of_that_noise():
    whole = planned("wan2.2-t2v-a14b")
    for strength, kept, high in ((1.0, 40, 26), (0.7, 28, 14), (0.35, 14, 0), (0.05, 2, 0)):
        made = planned("wan2.2-t2v-a14b", CLIP, strength=strength)
        assert (made.operation, made.strength, len(made.steps)) == ("v2v", strength, kept)
        assert [step.index for step in made.steps] == list(range(kept))
        assert [step.sigma for step in made.steps] == [step.sigma for step in whole.steps[40 - kept :]]
        assert made.steps_of("high_noise") == high
        assert [step.expert for step in made.steps] == [step.expert for step in whole.steps[40 - kept :]]
    assert planned("wan2.2-t2v-a14b", CLIP).strength == 0.7


@pytest.mark.parametrize("steps", range(1, 60))
def test_a_share_of_the_steps_that_is_whole_is_kept_whole(steps):
    for kept in range(1, steps + 1):
        assert len(planned("wan2.1-t2v-1.3b", CLIP, strength=kept / steps, steps=steps).steps) == kept


def test_a_strength_that_does_nothing_or_too_much_is_refused():
    assert refused("wan2.2-t2v-a14b", CLIP, strength=0.02) == (
        "strength: 0.02 of 40 steps is none. Allowed: 0.025 or more, or more steps. Nearest valid: 0.025."
    )
    for strength in (0.0, -1.0, 1.5, float("nan")):
        assert refused("wan2.2-t2v-a14b", CLIP, strength=strength).startswith("strength: ")


def test_a_video_gives_its_tempo_and_as_many_frames_as_it_has():
    assert planned("wan2.2-t2v-a14b", CLIP).video.frames == 81
    short = CLIP.model_copy(update={"frames": 48})  # two seconds: 32 frames at 16 fps
    assert planned("wan2.2-t2v-a14b", short).video.frames == 29
    assert planned("wan2.2-t2v-a14b", short, fps=24).video.frames == 45
    assert refused("wan2.2-t2v-a14b", short, frames=33) == (
        "frames: 33 are more than the 32 that the video has. Allowed: up to 29. Nearest valid: 29."
    )
    assert planned("wan2.2-t2v-a14b", short, frames=9).video.frames == 9


def test_other_proportions_are_cut_and_said():
    made = planned("wan2.2-i2v-a14b", SQUARE, width=1280, height=720)
    assert made.warnings == ("image is 1024x1024: it is cut to the proportions of 1280x720",)
    wide = LAST.model_copy(update={"width": 2048})
    assert planned("wan2.2-i2v-a14b", SQUARE, wide).warnings == (
        "last_image is 2048x1024: it is cut to the proportions of 960x960",
    )
    (warning,) = planned("wan2.2-i2v-a14b", SQUARE, width=256, height=256).warnings
    assert warning.startswith("256x256 has not an area that wan2.2-i2v-a14b was made for (1280x720, ")


def test_a_plan_survives_json_and_is_known_by_what_its_files_hold():
    made = planned("wan2.2-i2v-a14b", SQUARE, LAST)
    assert Plan.model_validate_json(made.model_dump_json()) == made
    moved = planned("wan2.2-i2v-a14b", SQUARE.model_copy(update={"path": "/elsewhere.png"}), LAST)
    assert moved.fingerprint == made.fingerprint
    other = planned("wan2.2-i2v-a14b", SQUARE.model_copy(update={"sha256": "d" * 64}), LAST)
    assert other.fingerprint != made.fingerprint
    assert (made.input("last_image"), made.input("video")) == (LAST, None)


def test_reading_takes_time_too():
    assert (
        planned("wan2.2-t2v-a14b", CLIP, strength=1.0, width=1280, height=720).seconds
        > planned("wan2.2-t2v-a14b").seconds
    )
    one, all_frames = (planned(v, SQUARE, frames=81) for v in ("wan2.2-ti2v-5b", "wan2.2-i2v-a14b"))
    assert one.seconds < all_frames.seconds


def test_what_does_not_run_yet_is_refused_with_models_or_without():
    mask = CLIP.model_copy(update={"role": "mask"})
    assert "cannot work by mask and references" in refused("wan2.2-t2v-a14b", CLIP, mask)
