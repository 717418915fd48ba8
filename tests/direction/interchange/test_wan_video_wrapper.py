"""Workflows of the nodes of ComfyUI-WanVideoWrapper."""

import copy
import json

import pytest

from filmgate.direction.interchange.dialects import import_settings
from filmgate.engine.sampling.schedules import sigmas
from filmgate.spec import FilmgateError, InvalidRequest, LoraChoice

HIGH = "WanVideo/Wan2_2-T2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors"


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def sampler(model, **inputs):
    return node(
        "WanVideoSampler", model=[model, 0], text_embeds=["t", 0], image_embeds=["e", 0], steps=20, cfg=3.5, shift=8.0,
        seed=5, force_offload=True, scheduler="unipc", riflex_freq_index=0, **inputs,
    )  # fmt: skip


FLOW = {
    "mh": node("WanVideoModelLoader", model=HIGH, quantization="disabled", lora=["l2", 0]),
    "ml": node("WanVideoModelLoader", model=HIGH.replace("HIGH", "LOW"), quantization="disabled"),
    "l1": node("WanVideoLoraSelect", lora="a.safetensors", strength=0.5),
    "l2": node("WanVideoLoraSelect", lora="b.safetensors", strength=1.0, prev_lora=["l1", 0]),
    "t": node("WanVideoTextEncode", positive_prompt="a ball", negative_prompt="bad", t5=["x", 0]),
    "x": node("LoadWanVideoT5TextEncoder", model_name="umt5"),
    "e": node("WanVideoEmptyEmbeds", width=832, height=480, num_frames=81),
    "1": sampler("mh", start_step=0, end_step=10),
    "2": {**sampler("ml", start_step=10, end_step=-1, samples=["1", 0])},
    "d": node("WanVideoDecode", samples=["2", 0]),
    "v": node("VHS_VideoCombine", images=["d", 0], frame_rate=16),
}


def read(**changes):
    flow = copy.deepcopy(FLOW)
    for name, inputs in changes.items():
        flow[name.removeprefix("_")]["inputs"].update(inputs)
    return import_settings(json.dumps(flow))


def fates(found):
    return {entry.field: entry.fate for entry in found.entries}


def test_two_samplers_are_two_experts():
    found = read(_2={"cfg": 1.0})
    request = found.request
    assert (request.guidance_high, request.guidance_low, request.shift, request.steps) == (3.5, 1.0, 8.0, 20)
    assert (request.prompt, request.negative, request.model, request.seed) == ("a ball", "bad", HIGH, 5)
    assert (request.width, request.height, request.frames, request.fps) == (832, 480, 81, 16)
    assert (request.solver, fates(found)["boundary"]) == ("unipc", "translated")
    assert request.boundary == pytest.approx((4 / 4.5 + 4.4 / 4.85) / 2, abs=2e-3)
    assert request.lora_high == (LoraChoice(path="a.safetensors", strength=0.5), LoraChoice(path="b.safetensors"))
    assert request.lora_low == ()
    assert [entry.field for entry in found.differing] == ["solver", "seed", "text_encoder"]


def test_one_sampler_is_one_transformer():
    flow = {name: entry for name, entry in copy.deepcopy(FLOW).items() if name not in ("2", "ml")}
    flow["1"]["inputs"] |= {"end_step": -1}
    flow["d"]["inputs"]["samples"] = ["1", 0]
    request = import_settings(json.dumps(flow)).request
    assert (request.boundary, len(request.lora), request.lora_high) == (None, 2, ())


@pytest.mark.parametrize(("changes", "field"), [
    ({"_2": {"shift": 5.0}}, "shift of the low-noise expert"), ({"_2": {"steps": 8}}, "steps of the low-noise expert"),
    ({"_1": {"scheduler": "dpm++_sde"}}, "solver"), ({"_1": {"cache_args": ["c", 0]}}, "cache_args of node 1"),
    ({"_2": {"start_step": 8}}, "start_step"), ({"_2": {"end_step": 18}}, "end_step"),
    ({"_1": {"riflex_freq_index": 6}}, "riflex_freq_index of node 1"),
    ({"mh": {"quantization": "fp8_e4m3fn"}}, "quantization"), ({"mh": {"base_precision": "fp16"}}, "base_precision"),
    ({"_1": {"denoise_strength": 0.5}}, "denoise_strength"), ({"l1": {"blocks": ["b", 0]}}, "blocks"),
])  # fmt: skip
def test_what_a_request_cannot_say_is_said(changes, field):
    assert fates(read(**changes))[field] == "dropped"


def test_a_picture_and_an_unknown_node():
    flow = copy.deepcopy(FLOW) | {"i": node("LoadImage", image="a.png"), "o": node("WanVideoEnhanceAVideo", weight=2)}
    flow["e"] = node("WanVideoImageToVideoEncode", width=832, height=480, num_frames=80, start_image=["i", 0])
    found = import_settings(json.dumps(flow))
    assert (found.request.image, found.request.frames) == ("a.png", 77)
    assert (fates(found)["frames"], fates(found)["node o"]) == ("translated", "dropped")


def test_swapped_experts_and_cycles_are_errors():
    with pytest.raises(InvalidRequest, match="high-noise expert first"):
        read(mh={"model": FLOW["ml"]["inputs"]["model"]}, ml={"model": HIGH})
    with pytest.raises(InvalidRequest, match="lead back"):
        read(l1={"prev_lora": ["l2", 0]})


@pytest.mark.parametrize("changes", [
    {"_1": {"samples": ["2", 0]}}, {"_1": {"cfg": ["c", 0]}}, {"_1": {"steps": "20"}}, {"_1": {"end_step": 20}},
    {"_1": {"model": ["t", 0]}}, {"e": {"width": 0}}, {"t": {"positive_prompt": 4}}, {"v": {"frame_rate": None}},
])  # fmt: skip
def test_damaged_files_are_named_errors(changes):
    with pytest.raises(FilmgateError):
        read(**changes)


@pytest.mark.parametrize(("name", "field"), [
    ("positive_prompt", "prompt of the low-noise expert"), ("negative_prompt", "negative of the low-noise expert"),
])  # fmt: skip
def test_words_of_the_second_sampler_that_are_others_are_said(name, field):
    flow = copy.deepcopy(FLOW) | {"t2": copy.deepcopy(FLOW["t"])}
    flow["2"]["inputs"]["text_embeds"] = ["t2", 0]
    assert field not in fates(import_settings(json.dumps(flow)))
    flow["t2"]["inputs"][name] = "a blue cube"
    assert fates(import_settings(json.dumps(flow)))[field] == "dropped"


def test_its_vae_is_said():
    flow = copy.deepcopy(FLOW) | {"vae": node("WanVideoVAELoader", model_name="Wan2_1_VAE_bf16.safetensors")}
    assert fates(import_settings(json.dumps(flow)))["vae"] == "approximated"


# -------------------------------------------------------------------------------------------------- its noise levels


def shifted(level, shift):
    return shift * level / (1 + (shift - 1) * level)


def between(start, stop, count, *, end):
    """Even levels from ``start``, with or without ``stop`` as the last of them."""
    stride = (stop - start) / (count - 1 if end else count)
    return [start + stride * index for index in range(count)]


def multistep(steps, shift):
    """FlowUniPC and FlowDPMSolver, made with a shift: the largest training level is shifted, then all levels are."""
    return [shifted(level, shift) for level in between(shifted(0.999, shift), 0.0, steps, end=False)]


def discrete(steps, shift):
    """FlowMatchEulerDiscrete and FlowMatchLCM: even from the largest to the smallest shifted level, shifted again."""
    return [shifted(level, shift) for level in between(1.0, shifted(0.001, shift), steps, end=True)]


def picked(steps, shift):
    """FlowMatchSchedulerResMultistep: every so many of a thousand levels."""
    full = between(1.0, 0.003 / 1.002, 1000, end=True)
    return [shifted(full[round(step * 1000 / steps)], shift) for step in range(steps)]


THEIRS = {"unipc": multistep, "dpm++": multistep, "euler": discrete, "lcm": discrete, "res_multistep": picked}
NEAR = {"unipc": 1e-3, "dpm++": 1e-3, "euler": 0.7, "lcm": 0.7, "res_multistep": 0.02}
"""How far the levels are apart at most, at usual shifts and numbers of steps."""


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize(("steps", "shift"), [(4, 5.0), (20, 8.0), (40, 12.0), (50, 3.0)])
def test_its_noise_levels_are_compared_and_a_difference_is_said(name, steps, shift):
    found = read(_1={"scheduler": name}, _2={"scheduler": name})
    ours = sigmas(found.request.solver, steps, shift)[:-1]
    apart = max(abs(one - other) for one, other in zip(ours, THEIRS[name](steps, shift), strict=True))
    assert fates(found)["solver"] == ("kept" if apart < 1e-6 else "approximated")
    assert 1e-6 < apart < NEAR[name]
