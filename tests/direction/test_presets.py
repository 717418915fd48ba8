"""The published defaults, frozen: a preset that drifts makes another video from the same prompt."""

import hashlib
from pathlib import Path

import pytest
from tests.direction.models import model_of, tiny_pair

from filmgate.direction.presets import NEGATIVE, PRESETS, preset_of, shift_at
from filmgate.spec import InvalidRequest

L7, P7, L4, P4 = (1280, 720), (720, 1280), (832, 480), (480, 832)
FOUR = {L7, P7, L4, P4}
PUBLISHED = {
    # name: sizes, frames, fps, steps, shift, guidance high and low, boundary, solver
    "wan2.1-t2v-1.3b": ({L4, P4}, 81, 16, 50, 5.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-t2v-14b": (FOUR, 81, 16, 50, 5.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-t2i-14b": (FOUR | {(1024, 1024)}, 1, 16, 50, 5.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-i2v-14b": (FOUR, 81, 16, 40, 5.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-i2v-14b-480p": ({L4, P4}, 81, 16, 40, 3.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-i2v-14b-720p": (FOUR, 81, 16, 40, 5.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-flf2v-14b": (FOUR, 81, 16, 50, 16.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-vace-1.3b": ({L4, P4}, 81, 16, 50, 16.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-vace-14b": (FOUR, 81, 16, 50, 16.0, 5.0, 5.0, None, "unipc"),
    "wan2.1-camera-1.3b": (FOUR, 81, 16, 50, 5.0, 6.0, 6.0, None, "unipc"),
    "wan2.1-camera-14b": (FOUR, 81, 16, 50, 5.0, 6.0, 6.0, None, "unipc"),
    "wan2.2-camera-a14b": (FOUR, 81, 16, 50, 5.0, 6.0, 6.0, 0.9, "unipc"),
    "wan2.2-camera-5b": ({(1280, 704), (704, 1280)}, 81, 24, 50, 5.0, 6.0, 6.0, None, "unipc"),
    "wan2.2-vace-a14b": (FOUR, 81, 16, 50, 12.0, 5.0, 5.0, 0.875, "unipc"),
    "wan2.2-t2v-a14b": (FOUR, 81, 16, 40, 12.0, 4.0, 3.0, 0.875, "unipc"),
    "wan2.2-i2v-a14b": (FOUR, 81, 16, 40, 5.0, 3.5, 3.5, 0.9, "unipc"),
    "wan2.2-ti2v-5b": ({(1280, 704), (704, 1280)}, 121, 24, 50, 5.0, 5.0, 5.0, None, "unipc"),
    "wan2.2-s2v-14b": (
        FOUR | {(1024, 704), (704, 1024), (1280, 704), (704, 1280)}, 80, 16, 40, 3.0, 4.5, 4.5, None, "unipc",
    ),
    "wan2.2-animate-14b": ({L7, P7}, 77, 30, 20, 5.0, 1.0, 1.0, None, "dpmpp_2m"),
}  # fmt: skip


def test_every_published_number():
    found = {
        name: (
            set(p.sizes), p.frames, p.fps, p.steps, p.shift, p.guidance_high, p.guidance_low, p.boundary, p.solver
        )
        for name, p in PRESETS.items()
    }  # fmt: skip
    assert found == PUBLISHED


def test_the_default_size_is_the_largest_landscape():
    for name, preset in PRESETS.items():
        widest = max(preset.sizes, key=lambda size: (size[0] * size[1], size[0]))
        if "-camera-" not in name or name.endswith("-5b"):
            assert preset.sizes[0] == (L7 if name in ("wan2.1-t2i-14b",) else widest), name
        else:
            assert preset.sizes[0] == L4, "as the examples of these models are"
        assert len(set(preset.sizes)) == len(preset.sizes)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_negative_prompts_are_exact_to_the_byte():
    assert NEGATIVE.count("，") == 27, "full-width commas"
    assert "," not in NEGATIVE
    assert NEGATIVE.startswith("色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，")
    assert NEGATIVE.endswith("，三条腿，背景人很多，倒着走")
    assert len(NEGATIVE) == 137
    others = {name: p.negative for name, p in PRESETS.items() if p.negative != NEGATIVE}
    assert sorted(others) == [
        "wan2.1-flf2v-14b", "wan2.1-i2v-14b", "wan2.1-i2v-14b-480p", "wan2.1-i2v-14b-720p", "wan2.2-s2v-14b",
    ]  # fmt: skip
    assert others["wan2.1-i2v-14b"] == "镜头晃动，" + NEGATIVE
    assert others["wan2.1-flf2v-14b"] == "镜头切换，镜头晃动，" + NEGATIVE
    assert digest(NEGATIVE) == "ce96e0324e4b54ce"
    assert digest(others["wan2.2-s2v-14b"]) == "98afffdba82fbb1f"


SUMMARY = {"steps": 50, "guidance": 6.0, "shift": (3.0, 5.0), "boundary": 0.875}
"""What the examples of VideoX-Fun say of all its models together: steps (40 of the 5B ones), guidance, shift at 480p
and at 720p, boundary."""
DIFFERENT = {
    # What the example of the model itself says, and the words of docs/parity.md on it
    ("wan2.2-camera-a14b", "boundary"): (0.9, "whose boundary is 0.9"),
    ("wan2.2-camera-5b", "steps"): (50, "50 steps"),
    ("wan2.2-vace-a14b", "guidance"): (5.0, "guidance 5"),
    ("wan2.2-vace-a14b", "shift"): ((12.0, 12.0), "shift 12"),
}


def test_what_differs_from_the_summary_of_videox_fun_is_written_down():
    models = {
        "wan2.1-camera-1.3b": SUMMARY | {"boundary": None}, "wan2.1-camera-14b": SUMMARY | {"boundary": None},
        "wan2.2-camera-a14b": SUMMARY, "wan2.2-vace-a14b": SUMMARY,
        # No 480p among its sizes.
        "wan2.2-camera-5b": SUMMARY | {"steps": 40, "shift": (5.0, 5.0), "boundary": None},
    }  # fmt: skip
    page = (Path(__file__).parents[2] / "docs" / "parity.md").read_text(encoding="utf-8")
    found = {}
    for name, summary in models.items():
        preset = PRESETS[name]
        assert preset.guidance_high == preset.guidance_low
        ours = {
            "steps": preset.steps, "guidance": preset.guidance_low, "boundary": preset.boundary,
            "shift": tuple(shift_at(name, preset, size) for size in (L4, L7)),
        }  # fmt: skip
        found |= {(name, field): value for field, value in ours.items() if value != summary[field]}
    assert found == {place: value for place, (value, _) in DIFFERENT.items()}
    assert [words for _, words in DIFFERENT.values() if words not in " ".join(page.split())] == []


@pytest.mark.parametrize("variant", ["wan2.1-camera-1.3b", "wan2.1-camera-14b", "wan2.2-camera-a14b"])
def test_models_along_a_path_are_shifted_less_at_480p(variant):
    assert [shift_at(variant, PRESETS[variant], size) for size in (L4, P4, L7, P7)] == [3.0, 3.0, 5.0, 5.0]


@pytest.mark.parametrize("variant", ["wan2.1-i2v-14b", "wan2.1-i2v-14b-720p", "wan2.1-i2v-14b-480p"])
def test_image_to_video_of_wan_21_is_shifted_less_at_480p(variant):
    preset = PRESETS[variant]
    assert shift_at(variant, preset, L4) == shift_at(variant, preset, P4) == 3.0
    if not variant.endswith("480p"):
        assert shift_at(variant, preset, L7) == shift_at(variant, preset, (640, 640)) == 5.0
    assert shift_at(variant, preset, (624, 624)) == 3.0, "a square picture at 480p"
    assert shift_at("wan2.2-t2v-a14b", PRESETS["wan2.2-t2v-a14b"], L4) == 12.0


def test_a_models_own_preset_counts_first():
    model = tiny_pair()
    assert preset_of(model) == (model.preset, None)
    assert preset_of(model_of("wan2.2-t2v-a14b")) == (PRESETS["wan2.2-t2v-a14b"], None)


@pytest.mark.parametrize(
    ("changes", "lender"),
    [
        ({"variant": "wan2.2-t2v-a9m"}, "wan2.2-t2v-a14b"),
        ({"variant": "wan2.2-i2v-a9m", "task": "i2v"}, "wan2.2-i2v-a14b"),
    ],
)
def test_an_unpublished_size_borrows_from_its_family(changes, lender):
    assert preset_of(model_of("wan2.2-t2v-a14b", **changes)) == (PRESETS[lender], lender)


def test_an_unpublished_dense_model_borrows_from_a_dense_one():
    model = model_of("wan2.1-t2v-14b", variant="wan2.1-t2v-9m")
    assert preset_of(model) == (PRESETS["wan2.1-t2v-1.3b"], "wan2.1-t2v-1.3b")


def test_nothing_is_guessed_for_what_is_like_no_published_model():
    with pytest.raises(InvalidRequest, match=r"model: odd has no sampling defaults.*generation\.json has a preset"):
        preset_of(model_of("wan2.1-t2v-14b", id="odd", variant="wan2.1-ti2v-9m", task="ti2v"))


def test_one_picture_has_its_own_sizes_where_they_were_published():
    assert (1024, 1024) in preset_of(model_of("wan2.1-t2v-14b"), "t2i")[0].sizes
    assert (1024, 1024) not in preset_of(model_of("wan2.1-t2v-14b"), "t2v")[0].sizes
    assert preset_of(model_of("wan2.1-t2v-1.3b"), "t2i") == (PRESETS["wan2.1-t2v-1.3b"], None)


def test_areas_are_those_of_the_default_size():
    for name, preset in PRESETS.items():
        if preset.max_area is not None:
            assert preset.max_area == preset.sizes[0][0] * preset.sizes[0][1], name


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        PRESETS["wan2.2-t2v-a14b"] = None
    with pytest.raises(ValueError, match="frozen"):
        PRESETS["wan2.2-t2v-a14b"].steps = 4
