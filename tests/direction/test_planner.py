"""A request becomes a plan: every default, every check, every warning."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.direction.models import CPU, H200, TINY_PRESET, model_of, tiny_dense, tiny_pair, words
from tests.direction.plan_cases import check_official_plan

from filmgate.direction.planner import plan
from filmgate.direction.presets import PRESETS
from filmgate.spec import InvalidRequest, LatentShape, Plan, Request, UnknownName

PROMPT = "a red ball rolls to the left"


def planned(model=None, device=CPU, prompt=PROMPT, **wishes):
    return plan(Request(prompt=prompt, **wishes), model or tiny_pair(), device, words)


def refused(model=None, device=CPU, kind=InvalidRequest, **wishes):
    with pytest.raises(kind) as error:
        planned(model, device, **wishes)
    assert error.value.exit_code == 2
    return str(error.value)


def test_t2v_a14b_with_no_option_is_what_its_authors_do():
    check_official_plan()


@pytest.mark.parametrize("variant", ["wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-t2v-a14b", "wan2.2-ti2v-5b"])
def test_every_text_to_video_model_has_a_plan(variant):
    made, preset = planned(model_of(variant), H200), PRESETS[variant]
    assert len(made.steps) == preset.steps
    assert (made.video.width, made.video.height) == preset.sizes[0]
    assert made.warnings == ()
    if preset.boundary is None:
        assert {step.expert for step in made.steps} == {"dense"}
        assert made.boundary is None


def test_what_is_asked_for_is_planned():
    made = planned(
        negative="blue", width=96, height=160, frames=17, fps=12, steps=7, shift=4.0, solver="dpmpp_2m",
        guidance_high=6.0, guidance_low=1.0, boundary=0.9, seed=11, precision="bf16", preview_every=3,
    )  # fmt: skip
    assert (made.video.width, made.video.height, made.video.frames) == (96, 160, 17)
    assert made.latent == LatentShape(channels=16, frames=5, height=20, width=12)
    assert (made.prompt, made.negative, made.fps, made.seed) == (PROMPT, "blue", 12, 11)
    assert (made.solver, made.shift, made.boundary, made.precision) == ("dpmpp_2m", 4.0, 0.9, "bf16")
    assert made.preview_every == 3
    assert [step.timestep for step in made.steps][:2] == [1000.0, 960.0]
    assert {(step.expert, step.guidance, step.passes) for step in made.steps} == {
        ("high_noise", 6.0, 2), ("low_noise", 1.0, 1),
    }  # fmt: skip
    assert made.warnings == ()


def test_the_models_own_preset_counts_before_the_published_one():
    made = planned()
    assert (made.video.width, made.video.height, made.video.frames, made.fps) == (160, 96, 33, 12)
    assert (len(made.steps), made.shift, made.precision, made.negative) == (20, 5.0, "fp32", "")


def test_steps_follow_one_another():
    steps = planned(steps=9).steps
    assert [step.index for step in steps] == list(range(9))
    assert [step.sigma_next for step in steps] == [*(step.sigma for step in steps[1:]), 0.0]


def test_euler_tells_the_network_fractions():
    steps = planned(solver="euler", steps=4).steps
    assert [step.timestep for step in steps] == pytest.approx([1000, 937.5, 833.333333, 625])
    assert [step.expert for step in steps] == ["high_noise"] * 2 + ["low_noise"] * 2


def test_a_bare_plan_is_repeatable():
    assert planned() == planned()
    assert planned().seed == 0
    assert planned().fingerprint != planned(seed=1).fingerprint


def test_an_empty_negative_prompt_is_none_and_no_negative_is_the_default():
    model = model_of("wan2.2-t2v-a14b")
    assert planned(model, H200, negative="").negative == ""
    assert planned(model, H200).negative == PRESETS["wan2.2-t2v-a14b"].negative


@pytest.mark.parametrize(
    ("wishes", "size"),
    [
        ({"width": 160}, (160, 96)),
        ({"width": 96}, (96, 160)),
        ({"height": 96}, (160, 96)),
        ({"height": 160}, (96, 160)),
        ({"width": 320}, (320, 192)),
        ({"height": 48}, (80, 48)),
    ],
)
def test_the_other_side_follows_the_listed_sizes_or_the_default_proportions(wishes, size):
    video = planned(**wishes).video
    assert (video.width, video.height) == size


BAD = [
    ({"prompt": ""}, "prompt: it is empty. Allowed: at least one word that says what the video shows."),
    ({"prompt": "  \n\t "}, "prompt: it is empty. Allowed: at least one word that says what the video shows."),
    ({"prompt": "&nbsp;"}, "prompt: it is empty. Allowed: at least one word that says what the video shows."),
    ({"width": 150}, "width: 150 does not divide by 16. Allowed: positive multiples of 16. Nearest valid: 144."),
    ({"height": 97}, "height: 97 does not divide by 16. Allowed: positive multiples of 16. Nearest valid: 96."),
    ({"height": 0}, "height: 0 is too small. Allowed: positive multiples of 16. Nearest valid: 16."),
    ({"width": -160}, "width: -160 is too small. Allowed: positive multiples of 16. Nearest valid: 16."),
    (
        {"frames": 32},
        "frames: 32 is not of the form 4n+1, which the causal VAE needs. Allowed: 1, 5, 9, ... Nearest valid: 33.",
    ),
    (
        {"frames": 0},
        "frames: 0 is not of the form 4n+1, which the causal VAE needs. Allowed: 1, 5, 9, ... Nearest valid: 1.",
    ),
    (
        {"frames": -4},
        "frames: -4 is not of the form 4n+1, which the causal VAE needs. Allowed: 1, 5, 9, ... Nearest valid: 1.",
    ),
    ({"steps": 0}, "steps: 0 is out of range. Allowed: 1 to 1000. Nearest valid: 1."),
    ({"steps": -5}, "steps: -5 is out of range. Allowed: 1 to 1000. Nearest valid: 1."),
    ({"shift": 0.0}, "shift: 0 is not a positive number. Allowed: above 0; 1 is no shift."),
    ({"shift": -2.0}, "shift: -2 is not a positive number. Allowed: above 0; 1 is no shift."),
    ({"shift": math.nan}, "shift: nan is not a positive number. Allowed: above 0; 1 is no shift."),
    ({"boundary": 0.0}, "boundary: 0 is not a noise level. Allowed: above 0 and below 1."),
    ({"boundary": 1.0}, "boundary: 1 is not a noise level. Allowed: above 0 and below 1."),
    (
        {"boundary": 875.0},
        "boundary: 875 is not a noise level. Allowed: above 0 and below 1."
        " Nearest valid: 0.875, if a timestep was meant.",
    ),
    ({"guidance_high": -1.0}, "guidance_high: -1 is not a scale. Allowed: 0 or more; 1 switches guidance off."),
    ({"guidance_low": -0.1}, "guidance_low: -0.1 is not a scale. Allowed: 0 or more; 1 switches guidance off."),
    ({"guidance_low": math.inf}, "guidance_low: inf is not a scale. Allowed: 0 or more; 1 switches guidance off."),
    ({"seed": -1}, "seed: -1 is out of range. Allowed: 0 to 2^63-1. Nearest valid: 0."),
    ({"seed": 2**63}, f"seed: {2**63} is out of range. Allowed: 0 to 2^63-1. Nearest valid: {2**63 - 1}."),
    ({"fps": 0}, "fps: 0 is too small. Allowed: 1 or more. Nearest valid: 1."),
    ({"fps": -24}, "fps: -24 is too small. Allowed: 1 or more. Nearest valid: 1."),
    ({"preview_every": -1}, "preview_every: -1 is too small. Allowed: 0 or more. Nearest valid: 0."),
    ({"precision": "fp16"}, "precision: fp16 is not for CPUs. Allowed: fp32 or bf16. Nearest valid: bf16."),
]  # fmt: skip


@pytest.mark.parametrize(("wishes", "message"), BAD, ids=lambda value: repr(value) if isinstance(value, dict) else "")
def test_what_cannot_be_done_is_said_clearly(wishes, message):
    assert refused(**wishes) == message


def test_an_unknown_solver_or_precision_is_answered_with_the_known_ones():
    for field, value, known in (("solver", "unipcc", "unipc"), ("precision", "bf61", "bf16")):
        request = Request.model_construct(**{**Request(prompt=PROMPT).model_dump(), field: value})
        with pytest.raises(UnknownName, match=f"there is no {field} named '{value}'.*Nearest valid: .*{known}"):
            plan(request, tiny_pair(), CPU, words)


def test_a_prompt_that_is_too_long_is_told_what_would_be_cut():
    prompt = " ".join(f"word{index}" for index in range(18))
    assert refused(prompt=prompt) == (
        'prompt: it has 19 tokens and tiny reads 16; this would be cut: "word15 word16 word17".'
        " Allowed: 16 tokens, the end mark included."
    )
    assert planned(prompt=" ".join(prompt.split()[:15])).prompt.endswith("word14")
    assert refused(negative=prompt).startswith("negative: it has 19 tokens")


def test_a_very_long_rest_is_quoted_in_part():
    message = refused(prompt=" ".join(["ball"] * 100))
    assert '..." (424 characters)' in message
    assert len(message) < 300


def test_a_dense_model_has_one_scale_and_no_boundary():
    made = planned(tiny_dense())
    assert {(step.expert, step.guidance) for step in made.steps} == {("dense", 3.0)}
    for wishes in ({"guidance_low": 5.0}, {"guidance_high": 5.0}, {"guidance_high": 5.0, "guidance_low": 5.0}):
        assert {step.guidance for step in planned(tiny_dense(), **wishes).steps} == {5.0}
    assert refused(tiny_dense(), guidance_high=5.0, guidance_low=4.0) == (
        "guidance_high: a model with one expert has one scale. Allowed: the same as guidance_low."
    )
    assert refused(tiny_dense(), boundary=0.9) == (
        "boundary: tiny-dense has one expert for all noise levels. Allowed: no boundary."
    )


def test_a_pair_needs_a_boundary_from_somewhere():
    model = tiny_pair(preset=TINY_PRESET.model_copy(update={"boundary": None}))
    assert refused(model) == "boundary: the preset of tiny has none. Allowed: above 0 and below 1."
    assert planned(model, boundary=0.9).boundary == 0.9


def test_a_model_that_needs_a_picture_is_refused():
    assert refused(model_of("wan2.2-i2v-a14b")).startswith(
        "image: wan2.2-i2v-a14b needs a picture to start from. Allowed: image, or a model like wan2.2-t2v-a14b, "
    )


def test_sizes_follow_the_models_own_vae():
    message = refused(model_of("wan2.2-ti2v-5b"), H200, width=1280, height=720)
    assert message == "height: 720 does not divide by 32. Allowed: positive multiples of 32. Nearest valid: 736."


WARNINGS = [
    ({"prompt": "a zeppelin"}, "tiny does not know the word 'zeppelin'"),
    (
        {"prompt": "a red bal and 2 unicorns"},
        "tiny does not know the words 'bal', '2', 'unicorns'",
    ),
    ({"negative": "a zeppelin, blur"}, "tiny does not know the words 'zeppelin', 'blur' of the negative prompt"),
    ({"width": 320, "height": 192}, "320x192 is not a size that tiny was made for (160x96, 96x160)"),
    ({"frames": 49}, "49 frames are more than the 33 that tiny was made for"),
    ({"fps": 24}, "tiny moves at 12 fps; at 24 fps all is 2 times as fast"),
    ({"shift": 11.0}, "shift 11 is far from the usual 5"),
    ({"shift": 2.0}, "shift 2 is far from the usual 5"),
    ({"boundary": 0.9999}, "the high-noise expert paints no step: boundary 0.9999, shift 5"),
    ({"boundary": 0.01}, "the low-noise expert paints no step: boundary 0.01, shift 5"),
    (
        {"guidance_high": 1.0, "guidance_low": 1.0, "negative": "blur"},
        "guidance is off, so that the negative prompt has no effect",
    ),
    ({"guidance_low": 0.5}, "guidance 0.5 is below 1: the prompt counts less than it would without guidance"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wishes", "warning"), WARNINGS, ids=lambda value: repr(value) if isinstance(value, dict) else ""
)
def test_what_is_unusual_is_warned_of_and_done(wishes, warning):
    assert planned(**wishes).warnings == (warning,)


def test_usual_wishes_make_no_warning():
    for wishes in ({}, {"shift": 10.0}, {"shift": 2.5}, {"frames": 17}, {"width": 96, "height": 160}, {"fps": 12}):
        assert planned(**wishes).warnings == ()


def test_warnings_do_not_change_the_take():
    vocabulary = (*tiny_pair().vocabulary, "zeppelin")
    warned, silent = planned(prompt="a zeppelin"), planned(tiny_pair(vocabulary=None), prompt="a zeppelin")
    assert warned.steps == silent.steps
    assert silent.warnings == ()
    assert planned(tiny_pair(vocabulary=vocabulary), prompt="a zeppelin").warnings == ()


def test_a_plan_fits_itself_to_the_device():
    small = H200.model_copy(update={"name": "NVIDIA GeForce RTX 4090", "memory_bytes": 24 << 30})
    made = planned(model_of("wan2.2-t2v-a14b"), small)
    assert made.residency.mode == "streamed"
    assert made.memory.peak < small.memory_bytes
    assert planned(model_of("wan2.2-t2v-a14b"), H200).residency.mode == "one_expert"


def test_borrowed_defaults_are_said():
    model = model_of("wan2.2-t2v-a14b", id="mine", variant="wan2.2-t2v-a9m")
    assert planned(model, H200).warnings == (
        "mine has no preset of its own; the defaults are those of wan2.2-t2v-a14b",
    )


@given(
    width=st.integers(1, 60).map(lambda n: 16 * n),
    height=st.integers(1, 60).map(lambda n: 16 * n),
    frames=st.integers(0, 40).map(lambda n: 4 * n + 1),
    steps=st.integers(1, 60),
    shift=st.floats(0.5, 16),
    boundary=st.floats(0.01, 0.99),
    guidance=st.tuples(st.floats(0, 10), st.floats(0, 10)),
    solver=st.sampled_from(["unipc", "dpmpp_2m", "euler"]),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_valid_wish_has_a_plan_that_survives_json(
    width, height, frames, steps, shift, boundary, guidance, solver, seed
):
    made = planned(
        width=width, height=height, frames=frames, steps=steps, shift=shift, boundary=boundary,
        guidance_high=guidance[0], guidance_low=guidance[1], solver=solver, seed=seed,
    )  # fmt: skip
    assert Plan.model_validate_json(made.model_dump_json()) == made
    assert len(made.steps) == steps
    assert made.seconds > 0
    assert made.memory.peak >= made.memory.weights > 0
    for step in made.steps:
        assert step.guidance == (guidance[0] if step.expert == "high_noise" else guidance[1])


@given(st.integers(-200, 5000), st.integers(-200, 5000), st.integers(-20, 400))
def test_the_nearest_valid_value_is_valid(width, height, frames):
    wishes = {"width": width, "height": height, "frames": frames}
    endless = CPU.model_copy(update={"memory_bytes": 0})
    for _ in range(4):
        try:
            planned(device=endless, **wishes)
            return
        except InvalidRequest as error:
            wishes[error.field] = int(error.nearest)
    raise AssertionError(wishes)


def test_planning_takes_milliseconds():
    planned()
    start = time.perf_counter()
    for _ in range(5):
        planned(model_of("wan2.2-t2v-a14b"), H200)
    assert (time.perf_counter() - start) / 5 < 0.2
