"""Tools whose settings docs/interchange.md translates: the options that it gives mean what it says, trap by trap."""

import json
import re
import shlex
from pathlib import Path

import pytest

from filmgate.direction.interchange.dialects import export_settings, import_settings
from filmgate.direction.interchange.settings import settings_of
from filmgate.direction.presets import NEGATIVE, PRESETS, shift_at
from filmgate.spec import Request

PAGE = (Path(__file__).parents[2] / "docs" / "interchange.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \| `([^|]+)` \|$", re.MULTILINE)
ROWS = {
    tool.split(" (")[0]: (said, options) for tool, said, options in ROW.findall(PAGE.split("<!-- unread tools -->")[1])
}
TOOLS = ("FastVideo", "DiffSynth-Studio", "VideoX-Fun", "vLLM-Omni", "fal", "NVIDIA Dynamo")


@pytest.fixture
def settings(filmgate, studio):
    """The settings that the page's options for a tool make, and its own defaults in words."""

    def made(tool):
        said, options = ROWS[tool]
        result = filmgate("plan", "a ball", *shlex.split(options))
        assert result.exit_code == 0, result.stderr
        return settings_of(studio.requests[-1], None), said

    return made


def share(found):
    return found.high_steps, found.steps


def test_every_tool_has_a_row():
    assert tuple(ROWS) == TOOLS


def test_fastvideo_is_the_original_but_for_its_seed(settings):
    found, said = settings("FastVideo")
    usual = PRESETS["wan2.2-t2v-a14b"]
    for name in ("steps", "shift", "boundary", "guidance_high", "guidance_low"):
        assert getattr(found, name) == getattr(usual, name)
    assert (found.steps, found.shift, found.boundary) == (40, 12.0, 0.875)
    assert (found.seed, "1024" in said) == (1024, True)


def test_diffsynth_changes_experts_of_image_to_video_at_the_other_boundary(settings):
    found, _ = settings("DiffSynth-Studio")
    assert (found.variant, PRESETS[found.variant].boundary, found.boundary) == ("wan2.2-i2v-a14b", 0.9, 0.875)
    assert (found.guidance_high, found.guidance_low, found.shift, found.solver) == (5.0, 5.0, 5.0, "euler")
    assert share(found) == (21, 50), "with our boundary it would be 18"


def test_videox_fun_caches_and_nothing_here_does(settings):
    found, said = settings("VideoX-Fun")
    assert (found.steps, found.shift, found.guidance_high, found.guidance_low) == (50, 12.0, 6.0, 6.0)
    assert "TeaCache" in said
    light = {"model_cls": "wan2.2_moe", "infer_steps": 50, "feature_caching": "Tea", "teacache_thresh": 0.1}
    told = {entry.field for entry in import_settings(json.dumps(light)).differing}
    assert {"feature_caching", "teacache_thresh"} <= told
    flow = json.loads(export_settings_of("comfyui"))
    flow["cache"] = {"class_type": "TeaCache", "inputs": {"rel_l1_thresh": 0.1}}
    assert "node cache" in {entry.field for entry in import_settings(json.dumps(flow)).differing}


def test_vllm_omnis_label_is_reversed_and_what_it_does_is_not(settings):
    found, said = settings("vLLM-Omni")
    assert (found.steps, found.shift, found.guidance_high, found.guidance_low) == (40, 5.0, 4.0, 4.0)
    assert "--guidance-low" in said
    call = json.loads(export_settings_of("diffusers"))
    call["call"] |= {"guidance_scale": 4.0, "guidance_scale_2": 3.0}
    request = import_settings(json.dumps(call)).request
    assert (request.guidance_high, request.guidance_low) == (4.0, 3.0), "the same names, by what they do"


def test_fals_second_scale_is_the_larger_one_and_its_negative_prompt_is_empty(settings):
    found, said = settings("fal")
    assert (found.steps, found.shift, found.guidance_high, found.guidance_low) == (27, 5.0, 3.5, 4.0)
    assert (found.negative, PRESETS["wan2.2-t2v-a14b"].negative) == ("", NEGATIVE)
    assert "at most 10" in said
    assert share(found) == (12, 27)


def test_dynamos_shift_by_size_is_not_the_pairs(settings):
    found, said = settings("NVIDIA Dynamo")
    preset = PRESETS["wan2.2-t2v-a14b"]
    assert {shift_at("wan2.2-t2v-a14b", preset, size) for size in ((1280, 720), (832, 480))} == {12.0}
    assert {shift_at("wan2.2-i2v-a14b", PRESETS["wan2.2-i2v-a14b"], size) for size in ((1280, 720), (832, 480))} == {
        5.0
    }
    assert (found.shift, "12 at every size" in said) == (5.0, True)


def export_settings_of(dialect):
    return export_settings(Request(prompt="a ball", model="wan2.2-t2v-a14b", steps=20), dialect).text
