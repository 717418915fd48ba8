"""Job settings leave the prompt for the request: snapped to what the model can do, or reported with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.migration.form import PARAMETERS, Leaf, Parameter
from filmgate.direction.migration.settings import nearest_frames, settings_of
from filmgate.direction.presets import PRESETS
from filmgate.spec import Request

A14B, FIVE = "wan2.2-t2v-a14b", "wan2.2-ti2v-5b"


def moved(*parameters, variant=A14B):
    listed = [
        (f"parameters[{index}]", Leaf(value=Parameter(name=name, value=value)))
        for index, (name, value) in enumerate(parameters)
    ]
    fields, moves = settings_of(listed, variant)
    return fields, [moves[path] for path, _ in listed]


@pytest.mark.parametrize(
    ("name", "value", "fields"),
    [
        ("seed", 42, {"seed": 42}),
        ("seed", "9223372036854775807", {"seed": 2**63 - 1}),
        ("steps", "30", {"steps": 30}),
        ("guidance", 6.5, {"guidance_high": 6.5, "guidance_low": 6.5}),
        ("shift", "5.0", {"shift": 5.0}),
        ("fps", "24fps", {"fps": 24}),
        ("frames", 80, {"frames": 81}),
        ("frames", 81, {"frames": 81}),
        ("seconds", "5s", {"frames": 81}),
        ("size", "1280*720", {"width": 1280, "height": 720}),
        ("size", "720p", {"width": 1280, "height": 720}),
        ("size", "1920x1080", {"width": 1280, "height": 720}),
        ("ratio", "9:16", {"width": 720, "height": 1280}),
        ("width", 832, {"width": 832, "height": 480}),
        ("solver", "uni_pc", {"solver": "unipc"}),
        ("boundary", 0.9, {"boundary": 0.9}),
        ("image", "first.png", {"image": "first.png"}),
    ],
)
def test_what_a_setting_becomes(name, value, fields):
    assert moved((name, value))[0] == fields


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 2**63),
        ("seed", "random"),
        ("seed", True),
        ("steps", 0),
        ("frames", 0),
        ("frames", "many"),
        ("seconds", -3),
        ("size", "huge"),
        ("ratio", "16:0"),
        ("guidance", -1),
        ("solver", "heun"),
        ("boundary", 2),
        ("stylize", 250),
        ("model", "sdxl"),
        ("camera_file", "Pan_Left.txt"),
        ("fps", float("nan")),
        ("width", "wide"),
    ],
)
def test_what_cannot_be_moved_has_a_reason(name, value):
    fields, (move,) = moved((name, value))
    assert fields == {}
    assert move.reason


def test_changes_are_declared_and_exact_settings_are_not():
    assert moved(("frames", 80))[1][0].reason
    assert not moved(("frames", 81))[1][0].reason
    assert moved(("ratio", "21:9"))[1][0].reason
    assert not moved(("ratio", "16:9"))[1][0].reason


def test_a_length_in_seconds_counts_at_the_rate_that_is_asked_for_wherever_it_stands():
    assert moved(("seconds", 5), ("fps", 24))[0]["frames"] == 121
    assert moved(("seconds", 5), variant=FIVE)[0]["frames"] == 121
    fields, moves = moved(("seconds", 5), ("frames", 33))
    assert fields["frames"] == 33
    assert "33" in moves[0].reason


def test_both_sides_are_one_size():
    fields, moves = moved(("height", 1280), ("width", 720))
    assert fields == {"width": 720, "height": 1280}
    assert all(move.fields for move in moves)


def test_a_pose_file_is_kept_for_a_model_that_takes_one():
    assert moved(("camera_file", "Pan_Left.txt"), variant="wan2.2-camera-a14b")[0] == {"camera": "Pan_Left.txt"}


def test_loras_add_up():
    listed = [
        (f"parameters[{i}]", Leaf(value=Parameter(name="lora", value=n, strength=0.8))) for i, n in enumerate("ab")
    ]
    fields, _ = settings_of(listed, A14B)
    assert [(lora.path, lora.strength) for lora in fields["lora"]] == [("a", 0.8), ("b", 0.8)]


@given(st.floats(min_value=1, max_value=1e6))
def test_frames_are_4n_plus_1_and_never_far(count):
    frames = nearest_frames(count)
    assert frames % 4 == 1
    assert abs(frames - count) <= 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*PARAMETERS, "other"]),
            st.one_of(st.text(max_size=12), st.integers(), st.floats(), st.booleans()),
        ),
        max_size=4,
    ),
    st.sampled_from(sorted(PRESETS)),
)
def test_whatever_is_written_the_request_is_valid_and_every_setting_is_accounted_for(parameters, variant):
    fields, moves = moved(*parameters, variant=variant)
    Request(prompt="", **fields)
    assert all(move.fields or move.reason for move in moves)
    if "width" in fields and parameters:
        assert (fields["width"], fields["height"]) in PRESETS[variant].sizes


def test_lines_and_a_ratio_are_one_size():
    fields, moves = moved(("size", "720p"), ("ratio", "9:16"))
    assert fields == {"width": 720, "height": 1280}
    assert all(move.fields == fields for move in moves)
    assert moved(("ratio", "9:16"), ("size", "480p"))[0] == {"width": 480, "height": 832}
    assert moved(("size", "1280x720"), ("ratio", "16:9"))[0] == {"width": 1280, "height": 720}


def test_clips_longer_than_the_model_learned_from_are_warned_of():
    fields, moves = moved(("fps", 60), ("seconds", 30))
    assert fields["frames"] == 1801
    assert "trained on 81 frames" in moves[1].reason
    assert "trained" not in moved(("seconds", 5))[1][0].reason
