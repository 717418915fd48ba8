"""From a setup of Wan 2.1 to one of Wan 2.2: what is kept, what is replaced, and that the result can be planned."""

import itertools
import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.architectures import describe_published
from filmgate.direction.devices import profile_named
from filmgate.direction.interchange.dialects import import_settings
from filmgate.direction.interchange.report import Imported
from filmgate.direction.planner import plan
from filmgate.direction.presets import NEGATIVE, NEGATIVE_I2V_21, PRESETS
from filmgate.direction.tasks import abilities
from filmgate.direction.upgrade import SUCCESSORS, upgrade
from filmgate.spec import InputFile, InvalidRequest, LoraChoice, Request, UnknownName

H200 = profile_named("h200").description


def of(variant="wan2.1-t2v-14b", **fields):
    return Imported(dialect="official", request=Request(prompt="a ball", **fields), entries=(), variant=variant)


def command(task, **options):
    words = ["python", "generate.py", "--task", task, "--prompt", "a ball"]
    return shlex.join(words + [word for name, value in options.items() for word in (f"--{name}", str(value))])


def entry(made, field):
    return next(entry for entry in made.entries if entry.field == field)


def test_text_to_video_gets_the_settings_of_the_two_experts():
    made = upgrade(import_settings(command("t2v-14B", size="1280*720")))
    assert (made.source, made.target) == ("wan2.1-t2v-14b", "wan2.2-t2v-a14b")
    assert (made.steps, made.high_steps) == (40, 26)  # the split of the published configuration
    request = made.request
    assert request.model == "wan2.2-t2v-a14b"  # what `filmgate fetch` calls it
    assert any("filmgate fetch wan2.2-t2v-a14b" in advice.text for advice in made.advice)
    assert (request.steps, request.shift, request.boundary) == (40, 12.0, 0.875)
    assert (request.guidance_high, request.guidance_low) == (4.0, 3.0)
    assert (request.width, request.height, request.frames, request.fps) == (1280, 720, 81, 16)
    assert (entry(made, "steps").before, entry(made, "steps").after) == ("50", "40")
    assert (made.gigabytes_before, made.gigabytes) == (70, 127)


def test_image_to_video_keeps_its_picture_and_loses_what_the_negative_prompt_said_of_it():
    made = upgrade(import_settings(command("i2v-14B", size="832*480", image="a.png")))
    assert made.request.image == "a.png"
    assert made.request.area == 832 * 480
    assert entry(made, "negative").before.startswith(NEGATIVE_I2V_21[:20])
    assert made.request.negative == NEGATIVE
    assert any("CLIP" in advice.text for advice in made.advice)


def test_the_small_model_keeps_its_seconds_at_another_frame_rate_and_size():
    made = upgrade(import_settings(command("t2v-1.3B", size="832*480")))
    assert made.target == "wan2.2-ti2v-5b"
    assert (made.request.width, made.request.height) == (1280, 704)
    assert (made.request.frames, made.request.fps) == (121, 24)
    assert made.high_steps is None
    assert made.request.boundary is None


def test_upright_stays_upright():
    made = upgrade(import_settings(command("t2v-1.3B", size="480*832")))
    assert (made.request.width, made.request.height) == (704, 1280)


def test_a_square_has_the_area_that_the_model_was_made_for():
    made = upgrade(of("wan2.1-t2v-14b", width=960, height=960), target="wan2.2-ti2v-5b")
    width, height = made.request.width, made.request.height
    assert width == height
    assert 0.9 < width * height / (1280 * 704) <= 1
    assert entry(made, "size").fate == "approximated"


def test_chosen_steps_stay_and_chosen_shift_does_not():
    made = upgrade(of(steps=30, shift=8.0))
    assert made.request.steps == 30
    assert "published are 40" in entry(made, "steps").reason
    assert made.request.shift == 12.0
    assert entry(made, "shift").before == "8.0"


def test_few_steps_become_a_preset_of_the_new_model():
    made = upgrade(
        of(steps=4, guidance_low=1.0, lora=(LoraChoice(path="lightx2v_T2V_14B_cfg_step_distill.safetensors"),))
    )
    assert made.request.distilled == "lightning"
    assert (made.request.steps, made.request.guidance_high, made.request.guidance_low) == (4, 1.0, 1.0)
    assert made.request.lora == ()
    assert entry(made, "lora").fate == "dropped"
    assert any("Wan2.2-Lightning" in advice.text for advice in made.advice)


def test_few_steps_between_two_pictures_have_their_own_preset():
    made = upgrade(of("wan2.1-flf2v-14b", steps=4, guidance_low=1.0, image="a.png", last_image="b.png"))
    assert made.request.distilled == "lightning-flf2v"
    assert made.high_steps == 2


def test_few_steps_without_a_preset_are_said_to_be_lost():
    made = upgrade(of("wan2.1-camera-14b", steps=4, guidance_low=1.0, camera="path.txt", image="a.png"))
    assert made.request.distilled is None
    assert entry(made, "distilled").fate == "dropped"
    assert made.request.steps == PRESETS["wan2.2-camera-a14b"].steps


def test_a_style_is_laid_onto_both_experts_and_onto_no_other_width():
    style = LoraChoice(path="style.safetensors", strength=0.7)
    assert upgrade(of(lora=(style,))).request.lora == (style,)
    small = upgrade(of("wan2.1-t2v-1.3b", lora=(style,)))
    assert small.request.lora == ()
    assert "train it again" in entry(small, "lora").reason
    large = upgrade(of(lora=(style,)), target="wan2.2-ti2v-5b")
    assert large.request.lora == ()


def test_an_own_negative_prompt_and_what_the_weights_do_not_touch_stay():
    fields = {"negative": "rain", "seed": 7, "precision": "bf16", "memory": "streamed", "vae_tile": 256}
    made = upgrade(of(**fields))
    assert {name: getattr(made.request, name) for name in fields} == fields
    assert entry(made, "seed").fate == "approximated"


def test_an_interval_of_guidance_is_dropped_aloud():
    made = upgrade(of(guidance_interval=(0.2, 0.9)))
    assert made.request.guidance_interval is None
    assert entry(made, "guidance_interval") in made.to_check


def test_what_the_dialect_could_not_carry_is_to_be_checked_too():
    made = upgrade(import_settings(command("t2v-14B", prompt_extend_model="x", base_seed=3)))
    assert {"seed", "prompt_extend_model"} <= {entry.field for entry in made.to_check}


def test_a_workflow_says_by_its_file_which_model_it_is_for():
    call = {"prompt": "a ball", "num_inference_steps": 50, "guidance_scale": 5.0}
    text = json.dumps(
        {
            "_class_name": "WanPipeline",
            "model": "Wan-AI/Wan2.1-T2V-14B-Diffusers",
            "scheduler": {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0},
            "call": call,
        }
    )
    made = upgrade(import_settings(text))
    assert (made.source, made.request.shift) == ("wan2.1-t2v-14b", 12.0)
    assert any("guidance_scale_2" in advice.text for advice in made.advice)


def test_a_setup_of_the_new_generation_is_left_alone_and_its_oddities_are_shown():
    request = Request(prompt="a ball", shift=3.0, guidance_high=4.0, guidance_low=3.0, boundary=0.875)
    made = upgrade(Imported(dialect="diffusers", request=request, entries=(), variant="wan2.2-t2v-a14b"))
    assert made.request == request
    assert made.source == made.target
    assert entry(made, "shift").fate == "approximated"
    assert "12" in entry(made, "shift").reason
    assert {e.fate for e in made.entries if e.field != "shift"} == {"kept"}


def test_a_model_that_is_not_told_is_asked_for():
    with pytest.raises(InvalidRequest, match=r"variant: .*wan2.1-t2v-14b"):
        upgrade(of(None, model="weights/model-14b"))
    assert upgrade(of(None, model="weights/model-14b"), variant="wan2.1-t2v-14b").target == "wan2.2-t2v-a14b"
    with pytest.raises(UnknownName, match="there is no variant named"):
        upgrade(of(None), variant="wan2.1-t2v-14")


def test_a_target_must_be_of_wan_22_and_able():
    with pytest.raises(UnknownName, match=r"wan2\.2-ti2v-5b"):
        upgrade(of(), target="wan2.1-t2v-1.3b")
    with pytest.raises(InvalidRequest, match="cannot do what the setup does"):
        upgrade(of(), target="wan2.2-i2v-a14b")


@pytest.mark.parametrize("source", SUCCESSORS)
def test_every_successor_can_do_what_its_model_did(source):
    described = {"wan2.1-t2i-14b": "wan2.1-t2v-14b", "wan2.1-i2v-14b": "wan2.1-i2v-14b-720p"}.get(source, source)
    old, new = describe_published(described), describe_published(SUCCESSORS[source])
    assert abilities(old.task, old.family) <= abilities(new.task, new.family)


INPUTS = {
    "t2v": {},
    "i2v": {"image": "a.png"},
    "flf2v": {"image": "a.png", "last_image": "b.png"},
    "camera": {"camera": "p.txt"},
}


@given(
    case=st.sampled_from([("wan2.1-t2v-1.3b", "t2v"), ("wan2.1-t2v-14b", "t2v"), ("wan2.1-i2v-14b-480p", "i2v"),
                          ("wan2.1-i2v-14b-720p", "i2v"), ("wan2.1-flf2v-14b", "flf2v")]),
    size=st.sampled_from([(832, 480), (480, 832), (1280, 720), (720, 1280), (624, 624), (1024, 576), (512, 512)]),
    latents=st.integers(1, 40),
    fps=st.sampled_from([None, 16, 24]),
    steps=st.one_of(st.none(), st.integers(1, 60)),
    shift=st.one_of(st.none(), st.floats(1, 16)),
    scale=st.one_of(st.none(), st.floats(1, 9)),
)  # fmt: skip
def test_whatever_the_setup_the_request_can_be_planned(case, size, latents, fps, steps, shift, scale):
    variant, operation = case
    setup = of(
        variant, width=size[0], height=size[1], frames=4 * latents + 1, fps=fps, steps=steps, shift=shift,
        guidance_low=scale, **INPUTS[operation],
    )  # fmt: skip
    made = upgrade(setup)
    files = [InputFile(role=role, path=path, sha256="0" * 64, width=64, height=64)
             for role, path in INPUTS[operation].items()]  # fmt: skip
    planned = plan(made.request, describe_published(made.target), H200, len, files)
    assert planned.model.family == "wan2.2"
    before = setup.request.frames / (fps or 16)
    assert abs(planned.video.frames / planned.fps - before) < 0.3
    assert (planned.video.width > planned.video.height) == (size[0] > size[1])
    assert made.high_steps is None or made.high_steps == planned.steps_of("high_noise")


def test_the_ledger_names_every_field_that_changed():
    made = upgrade(of(steps=25, shift=3.0, guidance_low=6.0, fps=24, width=832, height=480, negative=None))
    fields = {"steps", "shift", "guidance", "fps", "frames", "size", "boundary", "negative", "model"}
    assert fields <= {entry.field for entry in made.entries}
    names = [entry.field for entry in made.entries]
    assert all(len(list(group)) == 1 for _, group in itertools.groupby(sorted(names)))
