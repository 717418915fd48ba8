"""Workflows of ComfyUI: what they mean, and what is wrong with some."""

import copy
import json

import pytest

from filmgate.direction.interchange.comfyui_export import export_comfyui
from filmgate.direction.interchange.dialects import import_settings
from filmgate.spec import FilmgateError, InvalidRequest, LoraChoice, Request, UnknownName

HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
FLOW = json.loads(
    export_comfyui(Request(prompt="a ball", model=HIGH, steps=20, shift=8.0, solver="euler", seed=5), None).text
)


def node(flow, kind, index=0):
    return [name for name, entry in flow.items() if entry["class_type"] == kind][index]


def changed(kind, index=0, remove=None, **inputs):
    flow = copy.deepcopy(FLOW)
    found = flow[node(flow, kind, index)]["inputs"]
    found.update(inputs)
    found.pop(remove, None)
    return json.dumps(flow)


def fates(found):
    return {entry.field: entry.fate for entry in found.entries}


def test_two_samplers_are_two_experts():
    found = import_settings(changed("KSamplerAdvanced", 1, cfg=1.5))
    request = found.request
    assert found.dialect == "comfyui"
    assert (request.guidance_high, request.guidance_low, request.shift, request.steps) == (4.0, 1.5, 8.0, 20)
    assert (request.solver, request.seed, request.model, request.fps) == ("euler", 5, HIGH, 16)
    assert fates(found)["boundary"] == "translated"


def test_the_step_of_the_stock_template_is_not_the_boundary_of_the_model():
    flow = json.loads(changed("KSamplerAdvanced", 0, end_at_step=10))
    flow[node(flow, "KSamplerAdvanced", 1)]["inputs"]["start_at_step"] = 10
    assert import_settings(json.dumps(flow)).request.boundary == pytest.approx((4 / 4.5 + 4.4 / 4.85) / 2, abs=1e-5)


def test_without_a_shift_node_the_shift_is_eight():
    flow = json.loads(changed("ModelSamplingSD3", 0, shift=3.0))
    for index in (0, 1):
        shift = flow[node(flow, "ModelSamplingSD3", index)]
        flow[node(flow, "KSamplerAdvanced", index)]["inputs"]["model"] = shift["inputs"]["model"]
    assert import_settings(json.dumps(flow)).request.shift == 8.0


def test_a_second_shift_is_said_to_be_dropped():
    assert (
        fates(import_settings(changed("ModelSamplingSD3", 1, shift=5.0)))["shift of the low-noise expert"] == "dropped"
    )


def test_loras_keep_their_expert_and_order():
    loras = (LoraChoice(path="a.safetensors", strength=0.5), LoraChoice(path="b.safetensors"))
    wish = Request(prompt="a ball", model=HIGH, lora_high=loras, lora_low=loras[1:])
    found = import_settings(export_comfyui(wish, None).text).request
    assert (found.lora_high, found.lora_low) == (loras, loras[1:])


@pytest.mark.parametrize(("name", "fate"), [("euler", "kept"), ("uni_pc", "approximated"), ("heun", "dropped")])
def test_samplers_are_not_swapped_in_silence(name, fate):
    flow = json.loads(changed("KSamplerAdvanced", 0, sampler_name=name))
    flow[node(flow, "KSamplerAdvanced", 1)]["inputs"]["sampler_name"] = name
    assert fates(import_settings(json.dumps(flow)))["solver"] == fate


def test_other_schedulers_are_approximated():
    assert fates(import_settings(changed("KSamplerAdvanced", 0, scheduler="beta")))["scheduler"] == "approximated"


def test_swapped_experts_are_an_error():
    low = HIGH.replace("high", "low")
    with pytest.raises(InvalidRequest, match="high-noise expert first"):
        import_settings(changed("UNETLoader", 0, unet_name=low))


def test_a_cycle_is_named():
    lora = {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "a", "strength_model": 1.0, "model": ["l", 0]}}
    flow = json.loads(changed("KSamplerAdvanced", 0, model=["l", 0])) | {"l": lora}
    with pytest.raises(InvalidRequest, match="leads back to itself"):
        import_settings(json.dumps(flow))


@pytest.mark.parametrize(("text", "error"), [
    (changed("KSamplerAdvanced", 0, model=["99", 0]), InvalidRequest),
    (changed("KSamplerAdvanced", 0, model=["1", 0]), UnknownName),
    (changed("KSamplerAdvanced", 0, model="x"), InvalidRequest),
    (changed("KSamplerAdvanced", 0, steps="20"), InvalidRequest),
    (changed("KSamplerAdvanced", 0, steps=True), InvalidRequest),
    (changed("KSamplerAdvanced", 0, steps=10**400), InvalidRequest),
    (changed("KSamplerAdvanced", 0, cfg=float("nan")), InvalidRequest),
    (changed("KSamplerAdvanced", 0, noise_seed=1.5), InvalidRequest),
    (changed("KSamplerAdvanced", 0, end_at_step=20), InvalidRequest),
    (changed("KSamplerAdvanced", 0, remove="cfg"), InvalidRequest),
    (changed("KSamplerAdvanced", 1, latent_image=["1", 0]), UnknownName),
    (changed("CLIPTextEncode", 0, text=["1", 0]), InvalidRequest),
    (changed("EmptyHunyuanLatentVideo", 0, width=0), InvalidRequest),
    ('{"nodes": [], "links": []}', InvalidRequest),
    ('{"1": {"class_type": 4}}', InvalidRequest),
    ('{"1": {"class_type": "KSampler", "inputs": []}}', InvalidRequest),
    ('{"1": {"class_type": "VAELoader"}}', InvalidRequest),
    ("{" + '"a":{' * 100_000, InvalidRequest),
    ('{"a": 1, "a": 2}', InvalidRequest),
    (" " * 5_000_000 + "{}", InvalidRequest),
    ("[]", InvalidRequest),
    ("", InvalidRequest),
])  # fmt: skip
def test_damaged_files_are_named_errors(text, error):
    with pytest.raises(error):
        import_settings(text)


@pytest.mark.parametrize("name", FLOW)
@pytest.mark.parametrize("value", [None, 7, [], {}, {"class_type": "Odd", "inputs": {}}])
def test_no_broken_node_escapes(name, value):
    flow = FLOW | {name: value}
    try:
        found = import_settings(json.dumps(flow), "comfyui")
    except FilmgateError:
        return
    assert any(entry.field == f"node {name}" and entry.fate == "dropped" for entry in found.entries)


@pytest.mark.parametrize(("index", "field"), [(0, "prompt"), (1, "negative")])
def test_words_of_the_second_sampler_that_are_others_are_said(index, field):
    flow = copy.deepcopy(FLOW)
    flow["own"] = copy.deepcopy(flow[node(flow, "CLIPTextEncode", index)])
    second = flow[node(flow, "KSamplerAdvanced", 1)]["inputs"]
    second["positive" if field == "prompt" else "negative"] = ["own", 0]
    name = f"{field} of the low-noise expert"
    assert name not in fates(import_settings(json.dumps(flow)))
    flow["own"]["inputs"]["text"] = "a blue cube"
    found = import_settings(json.dumps(flow))
    assert fates(found)[name] == "dropped"
    assert getattr(found.request, field) != "a blue cube"


def test_a_type_of_weights_is_said():
    assert not any(entry.field.startswith("weight_dtype") for entry in import_settings(json.dumps(FLOW)).entries)
    found = import_settings(changed("UNETLoader", 1, weight_dtype="fp8_e4m3fn"))
    assert [entry.before for entry in found.differing if entry.field.startswith("weight_dtype")] == ["fp8_e4m3fn"]


def test_files_that_the_model_brings_itself_are_said():
    found = import_settings(changed("VAELoader", vae_name="own_vae.safetensors"))
    told = {entry.field: entry.before for entry in found.differing}
    assert told["vae"] == "own_vae.safetensors"
    assert told["text_encoder"] == "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
