"""Workflows of the nodes of ComfyUI-WanVideoWrapper."""

import copy
import json

import pytest

from filmgate.direction.interchange.dialects import import_settings
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
    assert [entry.field for entry in found.differing] == ["seed"]


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
    ({"mh": {"quantization": "fp8_e4m3fn"}}, "quantization"),
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
