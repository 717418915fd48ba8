"""One test per trap: settings that mean something else in every tool."""

import json

import pytest

from filmgate.direction.interchange.dialects import import_settings
from filmgate.direction.interchange.diffusers import import_diffusers_directory
from filmgate.direction.interchange.settings import boundary_after, settings_of, variant_of
from filmgate.direction.presets import NEGATIVE
from filmgate.engine.sampling.experts import experts_per_step
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.spec import InvalidRequest, LoraChoice, UnknownName

LIGHT = {
    "model_cls": "wan2.2_moe", "infer_steps": 40, "target_video_length": 81, "target_height": 480, "target_width": 832,
    "sample_guide_scale": [4.0, 3.0], "sample_shift": 12.0, "enable_cfg": True, "boundary": 0.875, "prompt": "a ball",
}  # fmt: skip
DIFF = {
    "_class_name": "WanPipeline", "boundary_ratio": 0.875,
    "scheduler": {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0},
    "call": {"prompt": "a ball"},
}  # fmt: skip


def light(**changes):
    return import_settings(json.dumps({k: v for k, v in (LIGHT | changes).items() if v is not ...}))


def diff(call=(), **changes):
    return import_settings(json.dumps(DIFF | {"call": DIFF["call"] | dict(call)} | changes))


def official(options):
    return import_settings(f"python generate.py --prompt 'a ball' {options}")


def fate(found, field):
    return next(entry.fate for entry in found.entries if entry.field == field)


def pair(found):
    return found.request.guidance_high, found.request.guidance_low


def test_the_originals_pair_is_low_high():
    assert pair(official("--task t2v-A14B")) == (4.0, 3.0)


def test_lightx2vs_list_is_high_low():
    assert pair(light()) == (4.0, 3.0)
    assert pair(light(sample_guide_scale=[1.5, 6])) == (1.5, 6.0)


def test_one_official_scale_is_for_both_experts():
    assert pair(official("--task t2v-A14B --sample_guide_scale 6")) == (6.0, 6.0)


def test_diffusers_first_scale_is_the_high_noise_experts():
    assert pair(diff({"guidance_scale": 4.0, "guidance_scale_2": 3.0})) == (4.0, 3.0)
    assert pair(diff({"guidance_scale": 4.0})) == (4.0, 4.0)
    assert pair(diff()) == (5.0, 5.0)


def test_diffusers_first_scale_alone_switches_guidance():
    assert pair(diff({"guidance_scale": 1.0, "guidance_scale_2": 3.0})) == (1.0, 1.0)


def test_a_scale_that_is_switched_off_is_off():
    assert pair(light(enable_cfg=False)) == (1.0, 1.0)


def test_a_second_scale_needs_a_boundary():
    with pytest.raises(InvalidRequest, match="boundary_ratio"):
        diff({"guidance_scale_2": 3.0}, boundary_ratio=None)


@pytest.mark.parametrize(("options", "shift"), [
    ("--task t2v-A14B", 12.0), ("--task i2v-A14B", 5.0), ("--task i2v-14B --size 832*480", 3.0),
    ("--task i2v-14B --size 1280*720", 5.0), ("--task flf2v-14B", 16.0), ("--task t2v-A14B --sample_shift 7.5", 7.5),
])  # fmt: skip
def test_the_shift_is_the_tools_own(options, shift):
    assert official(options).request.shift == shift


def test_a_diffusers_directory_has_another_shift_than_the_original():
    index = json.dumps(
        {"_class_name": "WanPipeline", "boundary_ratio": 0.875, "vae": ["diffusers", "AutoencoderKLWan"]}
    )
    found = import_diffusers_directory("Wan2.2-T2V-A14B-Diffusers", index, json.dumps(DIFF["scheduler"]))
    request = found.request
    assert (request.shift, request.steps, request.boundary, request.negative) == (3.0, 50, 0.875, "")
    assert fate(found, "prompt") == "dropped"


@pytest.mark.parametrize("call", [lambda: light(boundary=875), lambda: diff(boundary_ratio=875)])
def test_a_boundary_is_no_timestep(call):
    with pytest.raises(InvalidRequest, match=r"Nearest valid: 0\.875"):
        call()


@pytest.mark.parametrize("solver", ["unipc", "euler", "dpmpp_2m"])
@pytest.mark.parametrize(("steps", "shift", "high"), [(20, 8.0, 10), (40, 12.0, 26), (4, 5.0, 2), (50, 3.0, 1)])
def test_a_boundary_by_step_is_a_noise_level(solver, steps, shift, high):
    boundary = boundary_after(high, solver, steps, shift)
    clock = [timestep(level, solver) for level in sigmas(solver, steps, shift)[:-1]]
    assert experts_per_step(clock, boundary) == ("high_noise",) * high + ("low_noise",) * (steps - high)


def test_the_usual_boundary_is_taken_where_it_splits_alike():
    assert boundary_after(25, "unipc", 40, 12.0, 0.875) != 0.875
    assert boundary_after(26, "unipc", 40, 12.0, 0.875) == 0.875


def test_a_step_index_needs_a_schedule():
    assert 0.9 < light(boundary=..., boundary_step_index=20).request.boundary < 0.95
    with pytest.raises(InvalidRequest, match="infer_steps"):
        light(boundary=..., boundary_step_index=20, sample_shift=...)


@pytest.mark.parametrize(("asked", "original", "diffusers"), [(81, 81, 81), (80, 77, 81), (82, 81, 81), (84, 81, 85)])
def test_frames_are_rounded_as_the_tool_rounds_them(asked, original, diffusers):
    assert official(f"--task t2v-14B --frame_num {asked}").request.frames == original
    assert light(target_video_length=asked).request.frames == original
    found = diff({"num_frames": asked})
    assert found.request.frames == diffusers
    assert fate(found, "frames") == ("kept" if asked == diffusers else "translated")


def test_sizes_are_width_first_and_an_area_with_a_picture():
    plain = official("--task t2v-A14B --size 1280*720").request
    assert (plain.width, plain.height, plain.area) == (1280, 720, None)
    pictured = official("--task i2v-A14B --size 1280*720 --image a.png").request
    assert (pictured.width, pictured.height, pictured.area) == (None, None, 1280 * 720)
    call = diff({"height": 480, "width": 832}).request
    assert (call.width, call.height) == (832, 480)


def test_the_negative_prompt_of_a_tool_is_written_out():
    assert official("--task t2v-A14B").request.negative == NEGATIVE
    assert official("--task i2v-14B").request.negative == "镜头晃动，" + NEGATIVE
    assert diff().request.negative == ""


def test_frames_per_second_are_the_models():
    assert official("--task ti2v-5B --size 1280*704").request.fps == 24
    assert official("--task t2v-A14B").request.fps == 16


def test_seeds_are_never_called_exact():
    assert official("--task t2v-14B --base_seed 7").request.seed == 7
    assert fate(official("--task t2v-14B --base_seed 7"), "seed") == "approximated"
    assert fate(official("--task t2v-14B --base_seed -1"), "seed") == "dropped"
    assert light(seed=2**63).request.seed is None
    assert light(seed=2**63 - 1).request.seed == 2**63 - 1


def test_loras_go_to_their_expert():
    found = light(lora_configs=[
        {"name": "low_noise_model", "path": "low.safetensors", "strength": 0.5},
        {"name": "high_noise_model", "path": "high.safetensors"},
    ]).request  # fmt: skip
    assert found.lora_high == (LoraChoice(path="high.safetensors"),)
    assert found.lora_low == (LoraChoice(path="low.safetensors", strength=0.5),)


@pytest.mark.parametrize(("shift", "name"), [(5.0, "lightning"), (16.0, "lightning-flf2v")])
def test_a_list_of_steps_is_a_preset_only_at_its_shift(shift, name):
    listed = {"denoising_step_list": [1000, 750, 500, 250], "boundary": ..., "enable_cfg": False}
    assert light(**listed, sample_shift=shift).request.distilled == name
    other = light(**listed, sample_shift=shift + 1)
    assert other.request.distilled is None
    assert fate(other, "denoising_step_list") == "dropped"


@pytest.mark.parametrize(("name", "solver"), [
    ("UniPCMultistepScheduler", "unipc"), ("DPMSolverMultistepScheduler", "dpmpp_2m"),
    ("FlowMatchEulerDiscreteScheduler", "euler"),
])  # fmt: skip
def test_diffusers_schedulers_have_other_grids(name, solver):
    found = diff(scheduler={"_class_name": name, "use_flow_sigmas": True, "flow_shift": 3.0, "shift": 3.0})
    assert (found.request.solver, fate(found, "solver"), found.request.shift) == (solver, "approximated", 3.0)


def test_an_unknown_scheduler_is_not_replaced():
    with pytest.raises(UnknownName):
        diff(scheduler={"_class_name": "DDIMScheduler"})


def test_what_changes_the_video_and_has_no_counterpart_is_said():
    found = official("--task t2v-14B --use_prompt_extend --offload_model True")
    assert fate(found, "use_prompt_extend") == "dropped"
    assert fate(light(feature_caching="Tea"), "feature_caching") == "dropped"


@pytest.mark.parametrize(("name", "variant"), [
    ("Wan2.2-T2V-A14B-Diffusers", "wan2.2-t2v-a14b"), ("wan2.2_i2v_low_noise_14B_fp16.safetensors", "wan2.2-i2v-a14b"),
    ("Wan2.1-T2V-1.3B", "wan2.1-t2v-1.3b"), ("wan2.2_ti2v_5B_fp16.safetensors", "wan2.2-ti2v-5b"), ("model", None),
    ("/models/Wan2.1-I2V-14B-480P/diffusion", "wan2.1-i2v-14b-480p"),
])  # fmt: skip
def test_a_name_tells_the_model(name, variant):
    assert variant_of(name) == variant


def test_a_request_leaves_the_models_defaults_open_and_settings_do_not():
    found = settings_of(official("--task t2v-A14B").request, "wan2.2-t2v-a14b")
    assert (found.high_steps, found.steps) == (26, 40)


@pytest.mark.parametrize(("key", "field"), [
    ("infer_steps", "steps"), ("target_video_length", "frames"), ("target_height", "height"),
    ("target_width", "width"), ("sample_shift", "shift"), ("sample_guide_scale", "guidance"), ("boundary", "boundary"),
])  # fmt: skip
def test_a_key_that_lightx2v_leaves_out_is_said(key, field):
    assert field not in {entry.field for entry in light().differing}
    assert field in {entry.field for entry in light(**{key: ...}).differing}


def test_a_list_of_steps_stands_for_their_number_and_the_boundary():
    found = light(denoising_step_list=[1000, 750, 500, 250], sample_shift=5.0, infer_steps=..., boundary=...)
    assert not {"steps", "boundary"} & {entry.field for entry in found.differing}


# ------------------------------------------------------------------------------------------------------------ the model


def test_a_task_without_a_directory_names_its_model():
    found = official("--task t2v-A14B")
    assert (found.request.model, fate(found, "model")) == ("wan2.2-t2v-a14b", "translated")
    assert official("--task t2v-A14B --ckpt_dir ./weights").request.model == "./weights"
    assert official("--task t2i-14B --frame_num 1").request.model == "wan2.1-t2v-14b"


@pytest.mark.parametrize(("size", "model"), [("832*480", "wan2.1-i2v-14b-480p"), ("1280*720", "wan2.1-i2v-14b-720p")])
def test_a_task_with_two_models_goes_by_the_size_and_says_so(size, model):
    found = official(f"--task i2v-14B --size {size} --image a.png")
    assert (found.request.model, fate(found, "model")) == (model, "approximated")


@pytest.mark.parametrize(("changes", "model"), [
    ({"model_cls": "wan2.2", "boundary": ..., "sample_guide_scale": 5}, "wan2.2-ti2v-5b"),
    ({"task": "i2v"}, "wan2.2-i2v-a14b"),
    ({"task": "t2v"}, "wan2.2-t2v-a14b"), ({"image_path": "a.png"}, "wan2.2-i2v-a14b"), ({"model_path": "/m"}, "/m"),
])  # fmt: skip
def test_a_class_names_its_model_where_it_has_one(changes, model):
    found = light(**changes)
    assert found.request.model == model
    assert "model" not in {entry.field for entry in found.differing}


@pytest.mark.parametrize("make", [
    light, lambda: light(model_cls="wan2.1", boundary=..., sample_guide_scale=5), lambda: diff(boundary_ratio=None),
])  # fmt: skip
def test_a_model_that_is_not_told_is_said_to_be_lost(make):
    found = make()
    assert (found.request.model, fate(found, "model")) == (None, "dropped")
    assert "--model" in next(entry.reason for entry in found.entries if entry.field == "model")


def test_a_diffusers_call_without_a_model_tells_it_by_its_pipeline():
    assert diff().request.model == "wan2.2-t2v-a14b"
    assert diff(_class_name="WanImageToVideoPipeline").request.model == "wan2.2-i2v-a14b"
    assert diff(boundary_ratio=None, expand_timesteps=True).request.model == "wan2.2-ti2v-5b"
    assert fate(diff(), "model") == "approximated"
    assert diff(model="Wan-AI/X").request.model == "Wan-AI/X"


def test_a_task_of_lightx2v_that_is_none():
    with pytest.raises(UnknownName, match="i2v"):
        light(task="i2w")


# --------------------------------------------------------------------------------------------- what LightX2V leaves out


def test_what_lightx2v_takes_where_nothing_is_said():
    found = light()
    assert (found.request.seed, found.request.negative) == (42, "")
    assert (fate(found, "seed"), fate(found, "negative")) == ("approximated", "translated")
    assert light(seed=0).request.seed == 0
    assert light(negative_prompt="bad").request.negative == "bad"
    assert "enable_cfg" in {entry.field for entry in light(enable_cfg=...).differing}
    assert "enable_cfg" not in {entry.field for entry in found.differing}
