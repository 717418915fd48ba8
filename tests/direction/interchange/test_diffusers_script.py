"""Python scripts that call Diffusers, read without being executed."""

import pytest

from filmgate.direction.interchange.dialects import import_settings
from filmgate.spec import InvalidRequest, LoraChoice

SCRIPT = """
import torch
from diffusers import WanPipeline, AutoencoderKLWan, UniPCMultistepScheduler
from diffusers.utils import export_to_video
raise SystemExit("this is never executed")
model_id = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"
vae = AutoencoderKLWan.from_pretrained(model_id, subfolder="vae", torch_dtype=torch.float32)
pipe = WanPipeline.from_pretrained(model_id, vae=vae, torch_dtype=torch.bfloat16)
SCHEDULER
pipe.to("cuda")
LORAS
steps: int = 40
output = pipe(
    prompt="a red ball " "rolls", negative_prompt="blurry", height=720, width=1280, num_frames=81,
    num_inference_steps=steps, guidance_scale=4.0, guidance_scale_2=3.0, EXTRA
    generator=torch.Generator(device="cpu").manual_seed(7),
).frames[0]
export_to_video(output, "out.mp4", fps=16)
"""
SHIFTED = "pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=12.0)"


def script(scheduler=SHIFTED, loras="", extra="", text=SCRIPT):
    return import_settings(text.replace("SCHEDULER", scheduler).replace("LORAS", loras).replace("EXTRA", extra))


def fates(found):
    return {entry.field: entry.fate for entry in found.entries}


def test_a_script_is_read_and_not_executed():
    found = script()
    request = found.request
    assert (found.dialect, request.prompt, request.negative) == ("diffusers", "a red ball rolls", "blurry")
    assert (request.width, request.height, request.frames, request.fps, request.steps) == (1280, 720, 81, 16, 40)
    assert (request.guidance_high, request.guidance_low, request.shift, request.seed) == (4.0, 3.0, 12.0, 7)
    assert (request.model, request.solver) == ("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "unipc")
    assert fates(found)["shift"] == "kept"


def test_what_the_directory_decides_is_said_to_be_assumed():
    found = script(scheduler="")
    assert (found.request.shift, found.request.boundary) == (3.0, 0.875)
    assert {"shift", "boundary"} <= {entry.field for entry in found.differing}
    small = SCRIPT.replace("T2V-A14B", "TI2V-5B").replace("guidance_scale_2=3.0, ", "")
    assert script(scheduler="", text=small).request.shift == 5.0


def test_a_scheduler_of_its_own_inherits_nothing():
    found = script("pipe.scheduler = UniPCMultistepScheduler(use_flow_sigmas=True)")
    assert found.request.shift == 1.0
    euler = script("pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0)").request
    assert (euler.solver, euler.shift) == ("euler", 5.0)


def test_a_scheduler_that_is_no_flow_is_refused():
    with pytest.raises(InvalidRequest, match="flow"):
        script("pipe.scheduler = UniPCMultistepScheduler(flow_shift=3.0)")


def test_what_is_computed_is_said_to_be_lost():
    found = script(text=SCRIPT.replace("steps: int = 40", "steps = 20\nsteps += 20"))
    assert fates(found)["num_inference_steps"] == "dropped"
    looped = script(text=SCRIPT.replace("steps: int = 40", "for steps in (1, 2): pass"))
    assert fates(looped)["num_inference_steps"] == "dropped"
    assert fates(script(extra="**more,"))["**options of pipe"] == "dropped"
    assert fates(script(extra="attention_kwargs={'a': 1},"))["attention_kwargs"] == "dropped"


def test_a_lora_is_for_the_high_noise_expert_unless_it_says_otherwise():
    found = script(
        loras="""
pipe.load_lora_weights("some/repo", weight_name="high.safetensors", adapter_name="h")
pipe.load_lora_weights("low.safetensors", adapter_name="l", load_into_transformer_2=True)
pipe.set_adapters(["h", "l"], adapter_weights=[0.5, 1.5])
"""
    ).request
    assert found.lora_high == (LoraChoice(path="some/repo/high.safetensors", strength=0.5),)
    assert found.lora_low == (LoraChoice(path="low.safetensors", strength=1.5),)


def test_a_loaded_picture_is_its_path():
    text = SCRIPT.replace("WanPipeline", "WanImageToVideoPipeline").replace("T2V", "I2V")
    assert script(extra='image=load_image("a.png"),', text=text).request.image == "a.png"


@pytest.mark.parametrize("text", [
    "import diffusers\nx = (", "import diffusers", "import diffusers\n" + "(" * 5000,
    SCRIPT + "\npipe(prompt='again')", SCRIPT.replace("pipe(\n", "other(\n"), "import diffusers\n\0",
])  # fmt: skip
def test_what_is_no_such_script_is_a_named_error(text):
    with pytest.raises(InvalidRequest):
        script(text=text)
