"""Plans for VACE and for a camera's path: what they do with frames and sizes, and what they refuse."""

import pytest
from tests.direction.models import H200, model_of, words

from filmgate.direction.controls import inner_size
from filmgate.direction.planner import plan
from filmgate.spec import DitDimensions, InputFile, InvalidRequest, Plan, Request, VideoShape

CLIP = InputFile(
    role="video", path="/videos/c.mp4", sha256="c" * 64, width=1920, height=1080, frames=300, fps=(24, 1)
)  # fmt: skip
SHORT = CLIP.model_copy(update={"frames": 48})  # two seconds: 32 frames at 16 fps
MASK = InputFile(role="mask", path="/m.png", sha256="d" * 64, width=1920, height=1080)
MOVING = CLIP.model_copy(update={"role": "mask", "frames": 48})
ONE, TWO = (InputFile(role="reference", path=f"/{name}.png", sha256=name * 64, width=500, height=900) for name in "ef")
IMAGE = InputFile(role="image", path="/a.png", sha256="a" * 64, width=832, height=480)
LAST = InputFile(role="last_image", path="/b.png", sha256="b" * 64, width=832, height=480)
PATH = InputFile(role="camera", path="/path.txt", sha256="9" * 64, frames=81)
VACE, CAMERA = "wan2.1-vace-14b", "wan2.2-camera-a14b"


def planned(variant, *inputs, **wishes):
    named = {file.role: file.path for file in inputs if file.role != "reference"}
    references = tuple(file.path for file in inputs if file.role == "reference")
    model = model_of(variant)
    if model.task == "camera":
        dit = {**model.dit.model_dump(), "in_channels": 36}
        model = model.model_copy(update={"dit": DitDimensions(**dit)})
    request = Request(prompt="a cat", references=references, **named, **wishes)
    return plan(request, model, H200, words, inputs)


def refused(*args, **wishes):
    with pytest.raises(InvalidRequest) as error:
        planned(*args, **wishes)
    return str(error.value)


@pytest.mark.parametrize(
    "inputs",
    [(), (IMAGE,), (IMAGE, LAST), (CLIP,), (CLIP, MASK), (ONE, TWO), (CLIP, MASK, ONE), (IMAGE, ONE)],
    ids=lambda files: "+".join(file.role for file in files) or "nothing",
)
@pytest.mark.parametrize("variant", [VACE, "wan2.1-vace-1.3b", "wan2.2-vace-a14b"])
def test_vace_does_everything_by_context(variant, inputs):
    made = planned(variant, *inputs)
    assert (made.operation, made.inputs, made.strength, made.video.frames) == ("vace", inputs, None, 81)
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_one_frame_is_a_picture_by_context_too():
    assert planned(VACE, ONE, frames=1).operation == "vace"


def test_references_are_walked_with_the_video_and_are_not_part_of_it():
    alone, with_two = planned(VACE), planned(VACE, ONE, TWO)
    assert with_two.latent == alone.latent
    assert with_two.seconds > alone.seconds
    assert with_two.memory.activations > alone.memory.activations


@pytest.mark.parametrize(("keep", "frames"), [("start", 81), ("end", 81), (None, 29)])
def test_a_video_that_is_kept_at_an_end_may_be_shorter(keep, frames):
    made = planned(VACE, SHORT, keep=keep)
    assert (made.keep, made.video.frames) == (keep, frames)


def test_something_must_be_left_to_paint():
    assert refused(VACE, SHORT, keep="start", frames=29) == (
        "frames: 29, of which the video has 32, leave none to paint. Allowed: more than 32. Nearest valid: 37."
    )
    assert refused(VACE, CLIP, keep="end").startswith("frames: 81, of which the video has 200, leave none")
    assert planned(VACE, SHORT, keep="start", frames=33).video.frames == 33
    assert refused(VACE, CLIP, keep="inside", width=1280, height=720) == (
        "keep: a video of 1920x1080 fills 1280x720. Allowed: another width or height."
    )


def test_outside_of_a_video_the_size_is_the_requests_or_the_models():
    made = planned(VACE, CLIP, keep="inside", width=720, height=1280)
    assert (made.video.width, made.video.height, made.keep) == (720, 1280, "inside")
    assert not any("is cut" in warning for warning in made.warnings)
    small = CLIP.model_copy(update={"width": 640, "height": 360})
    assert planned(VACE, small, keep="inside").video == VideoShape(frames=81, width=1280, height=720)


@pytest.mark.parametrize(
    ("picture", "size", "inner"),
    [
        ((1920, 1080), (720, 1280), (720, 405)),
        ((640, 360), (1280, 720), (640, 360)),
        ((640, 360), (640, 720), (640, 360)),
        ((100, 3000), (640, 480), (16, 480)),
        ((1, 5000), (640, 480), (1, 480)),
    ],
)
def test_a_video_inside_keeps_its_proportions(picture, size, inner):
    assert inner_size(picture, VideoShape(frames=1, width=size[0], height=size[1])) == inner


def test_a_moving_mask_is_as_long_as_the_video():
    assert planned(VACE, CLIP, MOVING).video.frames == 29
    assert refused(VACE, CLIP, MOVING, frames=81).startswith("frames: 81 are more than the 32 that the mask has")


def test_what_is_only_followed_is_said():
    (warning,) = planned(VACE, CLIP).warnings
    assert warning == "without a mask nothing of the video is kept: all of it is painted anew, and follows it"
    assert planned(VACE, CLIP, MASK).warnings == planned(VACE, SHORT, keep="start").warnings == ()


def test_a_path_gives_the_frames_that_it_has():
    assert planned(CAMERA, IMAGE, PATH).operation == "camera"
    assert planned(CAMERA, PATH).video.frames == 81
    short, long = (PATH.model_copy(update={"frames": count}) for count in (32, 200))
    assert planned(CAMERA, IMAGE, short).video.frames == 29
    assert refused(CAMERA, IMAGE, short, frames=33) == (
        "frames: 33 are more than the 32 that the camera's path has. Allowed: up to 29. Nearest valid: 29."
    )
    assert planned(CAMERA, IMAGE, long).warnings == ("the camera's path has 200 poses; the first 81 are used",)
    size = {"width": 832, "height": 480}
    assert planned(CAMERA, PATH, **size).seconds < planned(CAMERA, IMAGE, PATH, **size).seconds


NO_PATH = "camera: wan2.2-camera-a14b follows a camera's path, and there is none. Allowed: a pose file."
CONTRADICTIONS = [
    (VACE, (MASK,), {}, "mask: there is no video that it covers. Allowed: together with video."),
    (VACE, (IMAGE, MASK), {}, "mask: there is no video that it covers. Allowed: together with video."),
    (VACE, (), {"keep": "start"}, "keep: there is no video that could be kept. Allowed: together with video."),
    (VACE, (CLIP, MASK), {"keep": "start"}, "keep: the mask says what is kept. Allowed: one of the two."),
    (
        VACE, (CLIP,), {"keep": "start", "strength": 0.5},
        "keep: a video that is kept does not change. Allowed: keep without strength.",
    ),
    (
        CAMERA, (CLIP, PATH), {},
        "camera: was given together with a video or references. Allowed: a path, and pictures.",
    ),
    (CAMERA, (IMAGE,), {}, NO_PATH),
    (CAMERA, (), {}, NO_PATH),
    (
        "wan2.1-camera-14b", (IMAGE, LAST, PATH), {},
        "last_image: wan2.1-camera-14b reads a first picture only. Allowed: image, or a model of Wan 2.2.",
    ),
    (
        "wan2.2-t2v-a14b", (CLIP, MASK), {},
        "model: wan2.2-t2v-a14b cannot work by mask and references. Allowed: wan2.2-vace-a14b, wan2.1-vace-1.3b,"
        " wan2.1-vace-14b.",
    ),
    (
        "wan2.2-i2v-a14b", (IMAGE, PATH), {},
        "model: wan2.2-i2v-a14b cannot follow a camera's path. Allowed: wan2.2-camera-a14b, wan2.2-camera-5b,"
        " wan2.1-camera-1.3b, wan2.1-camera-14b.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("variant", "inputs", "wishes", "message"), CONTRADICTIONS, ids=lambda value: str(value)[:30])
def test_a_refusal_says_what_helps(variant, inputs, wishes, message):
    assert refused(variant, *inputs, **wishes) == message


def test_the_blocks_of_the_branch_take_time_and_memory():
    model = model_of(VACE)
    without = model.model_copy(update={"dit": model.dit.model_copy(update={"branch_layers": 0})})
    one, other = (plan(Request(prompt="a cat"), described, H200, words) for described in (without, model))
    assert other.seconds > 1.1 * one.seconds
    assert other.memory.activations > one.memory.activations


def test_the_branch_has_a_strength():
    assert planned(VACE, ONE).control_scale == 1.0
    assert planned(VACE, ONE, control_scale=0.0).control_scale == 0.0
    for scale in (-0.5, float("inf"), float("nan")):
        assert refused(VACE, ONE, control_scale=scale).endswith("out of range. Allowed: 0 or more. Nearest valid: 1.")
    assert refused(CAMERA, PATH, control_scale=1.0).startswith("control_scale: this model has no branch to scale")


def test_a_strength_is_not_for_vace():
    assert refused(VACE, CLIP, strength=0.5).startswith(f"model: {VACE} cannot start from a video.")
