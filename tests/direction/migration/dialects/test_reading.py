"""What each dialect's notation means, and which grammar reads which stretch of a text."""

import pytest

from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.form import Amount, Emphasis, Form, Move, Parameter, Term, leaves, slots
from filmgate.direction.migration.migrate import migrate
from filmgate.spec.errors import InvalidRequest


def moves(form: Form) -> list[tuple[str, str | None]]:
    """Kind and direction of every camera move."""
    return [(move.move.value.kind, move.move.value.direction) for move in form.camera]


def dialects(text: str) -> list[str]:
    """The dialects of a text in their order."""
    return [segment.dialect for segment in read(text).segments]


def test_the_seeds_example_says_a_dolly_and_a_key_light_and_nothing_else():
    reading = read("camera_movement: dolly_forward, speed: 2.5, lighting: key_light_45deg")
    assert [segment.dialect for segment in reading.segments] == ["key_value"]
    assert slots(reading.form) == {
        "lights[].role": ("key",),
        "lights[].azimuth": (Amount(value=45, unit="deg"),),
        "camera[].move": (Move(kind="dolly", direction="in"),),
        "camera[].speed": (Amount(value=2.5),),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Pan left]", [("pan", "left")]),
        ("[Truck left, Pan right, Zoom in]", [("truck", "left"), ("pan", "right"), ("zoom", "in")]),
        ("[Push in]", [("dolly", "in")]),
        ("[Pull out]", [("dolly", "out")]),
        ("[Pedestal up]", [("pedestal", "up")]),
        ("[Tilt down]", [("tilt", "down")]),
        ("[Shake]", [("shake", None)]),
        ("[Tracking shot]", [("follow", None)]),
        ("[Static shot]", [("static", None)]),
        ("[左移]", [("truck", "left")]),
    ],
)
def test_brackets_of_minimax_are_camera_moves_and_no_weights(text, expected):
    reading = read(f"{text} A dog runs along the beach.")
    assert moves(reading.form) == expected
    assert reading.form.emphasis == ()
    assert [leaf.value for leaf in reading.form.prose] == ["A dog runs along the beach."]
    assert reading.segments[0].dialect == "minimax"


def test_brackets_of_minimax_follow_one_another():
    form = read("A man picks up a book [Pedestal up], then reads [Static shot].").form
    assert [(move.move.value.kind, move.group) for move in form.camera] == [("pedestal", 0), ("static", 1)]
    assert [leaf.value for leaf in form.prose] == ["A man picks up a book, then reads."]


def test_standing_still_first_and_moving_then_is_no_contradiction():
    made = migrate("[Static shot] A chef plates a dish. [Zoom in] Steam rises. [Push in, Pan right] He smiles.")
    assert made.status == "complete"
    assert "remains still, then zooms in, then" in made.text
    assert migrate("[Static shot, Zoom in] Steam rises.").status == "conflict"


@pytest.mark.parametrize(
    ("axis", "value", "kling", "runway"),
    [
        ("pan", 5, ("tilt", "up"), ("pan", "right")),
        ("pan", -5, ("tilt", "down"), ("pan", "left")),
        ("tilt", 3, ("pan", "right"), ("tilt", "up")),
        ("tilt", -3, ("pan", "left"), ("tilt", "down")),
        ("zoom", -2, ("zoom", "in"), ("dolly", "out")),
        ("zoom", 2, ("zoom", "out"), ("dolly", "in")),
        ("horizontal", -1, ("truck", "left"), ("truck", "left")),
        ("vertical", 1, ("pedestal", "up"), ("pedestal", "up")),
        ("roll", 4, ("roll", "clockwise"), ("roll", "clockwise")),
    ],
)
def test_kling_reverses_pan_and_tilt_and_runway_does_not(axis, value, kling, runway):
    of_kling = read(f'{{"camera_control": {{"type": "simple", "config": {{"{axis}": {value}}}}}}}').form
    of_runway = read(f'{{"camera_motion": {{"{axis}": {value}, "static": false}}}}').form
    assert moves(of_kling) == [kling]
    assert moves(of_runway) == [runway]
    assert of_kling.camera[0].speed is not None
    assert of_kling.camera[0].speed.value == Amount(value=abs(value), full=10)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("down_back", [("pedestal", "down"), ("dolly", "out")]),
        ("forward_up", [("dolly", "in"), ("tilt", "up")]),
        ("right_turn_forward", [("pan", "right"), ("dolly", "in")]),
        ("left_turn_forward", [("pan", "left"), ("dolly", "in")]),
    ],
)
def test_moves_that_kling_combines(name, expected):
    reading = read(f'{{"prompt": "a cat", "camera_control": {{"type": "{name}", "config": null}}}}')
    assert moves(reading.form) == expected
    assert reading.segments[0].dialect == "kling"


def test_settings_of_kling_only_sound_like_ours():
    text = '{"model_name": "kling-v1", "prompt": "a cat", "cfg_scale": 0.5, "duration": "5", "camera_control": {}}'
    form = read(text).form
    assert [leaf.value for leaf in form.parameters] == [Parameter(name="seconds", value=5)]
    assert [(leaf.value, leaf.required) for leaf in form.leftovers][:2] == [
        ("model_name: kling-v1", False),
        ("cfg_scale: 0.5", True),
    ]


def test_six_numbers_without_an_owner_are_unsure():
    camera = read('{"camera": {"pan": 5, "tilt": 0, "zoom": 2}}').form.camera
    assert [move.move.confidence for move in camera] == [0.5, 0.5]
    told = read('{"camera": {"pan": 5, "tilt": 0, "zoom": 2}}', "kling").form
    assert moves(told) == [("tilt", "up"), ("zoom", "out")]


def test_weights_go_to_the_emphasis_and_the_words_stay():
    form = read("masterpiece, best quality, (red ball:1.3), ((blue cube)), [fog], <lora:toy:0.8>, dolly in").form
    assert [leaf.value for leaf in form.prose] == ["red ball", "blue cube", "fog"]
    assert [leaf.value for leaf in form.emphasis] == [
        Emphasis(words="red ball", weight=1.3),
        Emphasis(words="blue cube", weight=1.21),
        Emphasis(words="fog", weight=0.9091),
    ]
    assert [leaf.value for leaf in form.parameters] == [Parameter(name="lora", value="toy", strength=0.8)]
    assert [(leaf.value, leaf.required) for leaf in form.boosters] == [("masterpiece", False), ("best quality", False)]
    assert moves(form) == [("dolly", "in")]


def test_a_weight_on_a_booster_need_not_stay():
    form = read("(masterpiece:1.2), (red ball:1.3), a lamp").form
    assert [(leaf.value.words, leaf.required) for leaf in form.emphasis] == [("masterpiece", False), ("red ball", True)]


def test_a_sentence_with_weights_stays_a_sentence():
    form = read("A knight in (silver armor:1.3) walks, slowly. The camera pans left.").form
    assert [leaf.value for leaf in form.prose] == ["A knight in silver armor walks, slowly."]
    assert [leaf.value for leaf in form.emphasis] == [Emphasis(words="silver armor", weight=1.3)]
    assert moves(form) == [("pan", "left")]


def test_changes_between_sampling_steps_are_left_over():
    form = read("a castle in [winter:summer:0.5], (old:1.2)").form
    assert [leaf.value for leaf in form.prose] == ["a castle in summer, old"]
    assert [leaf.value for leaf in form.leftovers] == ["[winter:summer:0.5]"]


def test_windows_are_a_timeline_and_no_alternatives():
    form = read("a dog runs | a cat sleeps | the camera pans left").form
    assert form.prose == ()
    assert [[leaf.value for leaf in beat.content.prose] for beat in form.timeline] == [
        ["a dog runs"],
        ["a cat sleeps"],
        [],
    ]
    assert moves(form.timeline[2].content) == [("pan", "left")]


def test_lines_of_wangp():
    form = read("# a comment\n[/duration=5s] a dog\n[/duration=4s,/new_shot] a cat").form
    assert [(beat.begin and beat.begin.value.value, beat.end and beat.end.value.value) for beat in form.timeline] == [
        (0, 5),
        (5, 9),
    ]
    assert [(leaf.value, leaf.required) for leaf in form.leftovers] == [("# a comment", False), ("[/new_shot]", True)]
    moments = read("(at 0 seconds: a man stands)\n(at 1.5 seconds: he (slowly) sits)").form
    assert [beat.begin.value for beat in moments.timeline if beat.begin] == [
        Amount(value=0, unit="s"),
        Amount(value=1.5, unit="s"),
    ]
    assert [leaf.value for leaf in moments.timeline[1].content.prose] == ["he (slowly) sits"]


def test_flags():
    form = read("A knight walks. --ar 16:9 --no people, text --s 250 --tile --seed 7").form
    assert [leaf.value for leaf in form.negatives] == ["people", "text"]
    assert [leaf.value for leaf in form.parameters] == [
        Parameter(name="ratio", value="16:9"),
        Parameter(name="s", value=250),
        Parameter(name="tile", value=True),
        Parameter(name="seed", value=7),
    ]
    parts = read("a red ball::2 a blue cube::0.5").form
    assert [leaf.value for leaf in parts.prose] == ["a red ball", "a blue cube"]
    assert [leaf.value.weight for leaf in parts.emphasis] == [2, 0.5]


def test_schedules_of_deforum_follow_its_two_modes():
    flat = read("translation_x: 0:(3)\nangle: 0:(-1)\nzoom: 0:(1.02)").form
    assert moves(flat) == [("truck", "left"), ("roll", "counterclockwise"), ("zoom", "in")]
    deep = read('{"translation_x": "0:(3)", "rotation_3d_y": "0:(-1)", "translation_z": "0:(2)"}').form
    assert moves(deep) == [("truck", "right"), ("pan", "left"), ("dolly", "in")]
    assert deep.camera[1].speed is not None
    assert deep.camera[1].speed.value == Amount(value=1, unit="deg/frame")


def test_a_schedule_with_two_signs_is_two_moves():
    form = read("translation_z: 0:(2), 30:(2), 31:(0), 60:(0), 61:(-1), 90:(-1), 91:(0)").form
    assert [
        (m.move.value.direction, m.begin and m.begin.value.value, m.end and m.end.value.value) for m in form.camera
    ] == [
        ("in", None, 31),
        ("out", 61, 91),
    ]


def test_prompts_by_frame_have_their_own_negatives():
    form = read('{"0": "a zen garden --neg blurry", "60": "snow"}').form
    assert [beat.begin and beat.begin.value for beat in form.timeline] == [
        Amount(value=0, unit="frame"),
        Amount(value=60, unit="frame"),
    ]
    assert [leaf.value for leaf in form.timeline[0].content.negatives] == ["blurry"]


def test_presets_of_videox_fun_travel_and_do_not_turn():
    form = read("A dog runs. asset/Pan_Left_Up.txt").form
    assert moves(form) == [("truck", "left"), ("pedestal", "up")]
    assert form.parameters[0].value == Parameter(name="camera_file", value="asset/Pan_Left_Up.txt")
    assert moves(read("Zoom_In.txt").form) == [("dolly", "in")]
    assert moves(read("ACW.txt").form) == [("roll", "counterclockwise")]
    assert moves(read("camera_control_direction: RightUp, camera_control_speed: 0.01").form) == [
        ("truck", "right"),
        ("pedestal", "up"),
    ]


def test_negative_prompts_and_settings_of_a_picture():
    text = (
        "a cat on a roof\nNegative prompt: blurry, (bad hands:1.4)\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 123, Size: 512x512"
    )
    form = read(text).form
    assert [leaf.value for leaf in form.prose] == ["a cat on a roof"]
    assert [leaf.value for leaf in form.negatives] == ["blurry", "bad hands"]
    assert {leaf.value.name: leaf.value.value for leaf in form.parameters} == {
        "steps": 20, "solver": "Euler a", "guidance": 7, "seed": 123, "size": "512x512",
    }  # fmt: skip


def test_chinese_keys_and_words():
    form = read("主体: 一只狐狸, 镜头: 缓慢左摇, 光线: 侧光, 时间: 夜晚, 帧率: 24").form
    assert [subject.name.value for subject in form.subjects] == ["一只狐狸"]
    assert moves(form) == [("pan", "left")]
    assert form.time[0].value == Term(name="night")
    assert form.lights[0].angle is not None
    assert form.lights[0].angle.value == Term(name="side")
    assert form.parameters[0].value == Parameter(name="fps", value=24)


def test_yaml_and_its_nesting():
    text = (
        "subject:\n  name: a red ball  # the hero\n  count: 2\ncamera:\n  move: dolly in\n  speed: slow\n"
        "lighting:\n  - key: soft\n  - rim\n"
    )
    form = read(text).form
    assert form.subjects[0].count is not None
    assert (form.subjects[0].name.value, form.subjects[0].count.value) == ("a red ball", 2)
    assert moves(form) == [("dolly", "in")]
    assert form.lights[0].role is not None
    assert form.lights[0].role.value == "key"


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"subject": "a fox", "camera": {"move": "pan left"}, /* note */ "seed": 5,}\n```',
        "{'subject': 'a fox', 'camera': {'move': 'pan left'}, 'seed': 5}",
        "prompt = {'subject': \"a fox\", 'camera': ('pan left',), 'seed': 5, 'lora': None}",
        "{subject: a fox, camera: {move: pan left}, seed: 5}",
        "subject: a fox\ncamera:\n  move: pan left\nseed: 5\n",
        "subject: a fox; camera: pan left; seed: 5",
        "subject = a fox, camera = pan left, seed = 5",
        "subject -> a fox\ncamera -> pan left\nseed -> 5",
        "**Subject:** a fox\n**Camera:** pan left\n**Seed:** 5",
        "- subject: a fox\n- camera: pan left\n- seed: 5",
    ],
)
def test_the_same_in_many_notations(text):
    form = read(text).form
    assert [subject.name.value for subject in form.subjects] == ["a fox"]
    assert moves(form) == [("pan", "left")]
    assert [leaf.value for leaf in form.parameters] == [Parameter(name="seed", value=5)]


def test_several_dialects_in_one_text():
    text = '[Pan left] A fox runs. lighting: side_light, speed_ramp: none {"seed": 3} --ar 9:16'
    reading = read(text)
    assert {segment.dialect for segment in reading.segments} == {
        "minimax",
        "natural",
        "key_value",
        "json",
        "midjourney",
    }
    assert [leaf.value.value for leaf in reading.form.parameters] == [3, "9:16"]


def test_what_no_slot_fits_is_left_over_and_comments_need_not_stay():
    form = read('{"subject": "a fox", "quux": "zork", "comment": "draft 3", "note": null}').form
    assert [(leaf.value, leaf.required) for leaf in form.leftovers] == [
        ("quux: zork", True),
        ("comment: draft 3", False),
        ("note: null", False),
    ]


def test_one_dialect_alone_can_be_asked_for():
    text = "camera: pan left, (red:1.3) [Zoom in]"
    assert dialects(text) == ["key_value", "weighted", "minimax"]
    assert [segment.dialect for segment in read(text, "natural").segments] == ["natural"]
    assert read(text, "minimax").form.emphasis == ()


def test_every_leaf_points_at_its_words():
    text = 'A fox. {"camera": {"move": "pan left", "speed": "2.5"}, "subject": "a \\"red\\" fox"} [Zoom in] --ar 16:9'
    reading = read(text)
    found = list(leaves(reading.form))
    assert len(found) == 6
    assert all(text[leaf.span[0] : leaf.span[1]] == leaf.raw for _, leaf in found)


def test_texts_beyond_all_measure_are_refused():
    with pytest.raises(InvalidRequest, match="at most 400000"):
        read("a" * 400_001)
