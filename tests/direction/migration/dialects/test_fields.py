"""Keys and objects as people write them in the wild: what each key means beside and inside of others."""

import pytest

from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.form import Amount, Emphasis, Form, Move, Parameter, Term, slots


def form_of(text: str) -> Form:
    """What a text says, provided that nothing of it is left over."""
    form = read(text).form
    assert [leaf.value for leaf in form.leftovers if leaf.required] == []
    return form


def test_a_storyboard_in_the_manner_of_veo():
    form = form_of(
        '{"video_length": 8, "scenes": ['
        '{"start": 0.0, "end": 2.0, "visual": "A barista pours milk.", "camera": "dolly-in", "sound": "chatter"},'
        '{"start": 2.0, "end": 5.0, "visual": "Foam forms a heart.", "camera": "static", "sound": "steam"}]}'
    )
    assert form.parameters[0].value == Parameter(name="seconds", value=8)
    assert [(beat.begin and beat.begin.value.value, beat.end and beat.end.value.value) for beat in form.timeline] == [
        (0, 2),
        (2, 5),
    ]
    assert [beat.content.camera[0].move.value.kind for beat in form.timeline] == ["dolly", "static"]
    assert [beat.content.audio[0].value for beat in form.timeline] == ["chatter", "steam"]


def test_a_brief_in_nested_objects():
    form = form_of(
        """{
  "shot": {"composition": "medium close-up, 35mm lens, shallow depth of field", "camera_motion": "slow push-in"},
  "subject": {"description": "A woman in her 30s", "wardrobe": "red wool coat"},
  "scene": {"location": "Tokyo street", "time_of_day": "night", "environment": "neon signs, wet pavement"},
  "cinematography": {"lighting": "rim light", "tone": "moody"},
  "color_palette": "teal and orange"
}"""
    )
    found = slots(form)
    assert found["shot[]"] == (Term(name="medium_close_up"),)
    assert found["lens[]"] == (Amount(value=35, unit="mm"),)
    assert found["focus[]"] == (Term(name="shallow"),)
    assert found["camera[].move"] == (Move(kind="dolly", direction="in"),)
    assert found["camera[].speed"] == (Amount(unit="word", word="slow"),)
    assert found["subjects[].attributes[]"] == ("red wool coat",)
    assert found["scene[]"] == ("Tokyo street", "neon signs, wet pavement")
    assert found["time[]"] == (Term(name="night"),)
    assert found["lights[].angle"] == (Term(name="edge"),)
    assert found["tone[]"] == ("moody", "teal and orange")


def test_dotted_keys_are_objects():
    form = form_of(
        "camera.move = dolly_in\ncamera.speed = 1.2\nlighting.key.angle = 45\nlighting.key.kelvin = 3200\n"
        "lighting.fill.quality = soft\nsubject.name = a red ball\nsubject.count = 2"
    )
    assert [
        (light.role and light.role.value, light.azimuth and light.azimuth.value.value) for light in form.lights
    ] == [
        ("key", 45),
        ("fill", None),
    ]
    assert form.subjects[0].count is not None
    assert (form.subjects[0].name.value, form.subjects[0].count.value) == ("a red ball", 2)
    assert form.camera[0].speed is not None
    assert form.camera[0].speed.value == Amount(value=1.2)


def test_lights_by_their_roles():
    form = form_of(
        "key_light: 45deg left, fill_light: soft, rim_light: on, color_temp: 5600K, contrast_ratio: 4:1, "
        "camera_height: low"
    )
    key, fill, rim = form.lights
    assert key.role is not None
    assert (key.role.value, key.side and key.side.value) == ("key", "left")
    assert (fill.role and fill.role.value, fill.quality and fill.quality.value) == ("fill", Term(name="soft"))
    assert (rim.role and rim.role.value, rim.kelvin and rim.kelvin.value.value) == ("rim", 5600)
    assert form.angle[0].value == Term(name="low")


def test_what_is_said_of_a_move_finds_it_whether_before_or_behind():
    for text in ("speed: 2.5, camera_movement: dolly_in", "camera_movement: dolly_in, speed: 2.5"):
        (move,) = form_of(text).camera
        assert move.speed is not None
        assert move.speed.value == Amount(value=2.5)
    left = read("speed: 2.5").form
    assert left.camera == ()
    assert [leaf.value for leaf in left.leftovers] == ["speed: 2.5"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"camera": {"pan": "left", "zoom": "in"}}', [("pan", "left"), ("zoom", "in")]),
        ('{"camera": {"pan_left": true, "zoom_in": false}}', [("pan", "left")]),
        ('{"camera": {"dolly_in": 3}}', [("dolly", "in")]),
        ('{"camera": {"type": "dolly", "direction": "backward"}}', [("dolly", "out")]),
        (
            '{"camera": ["crane up", {"type": "orbit", "direction": "clockwise"}]}',
            [("crane", "up"), ("orbit", "clockwise")],
        ),
        ("camera_movement: crane_up + pan_left", [("crane", "up"), ("pan", "left")]),
        ("camera: slow tracking shot, low angle, 35mm", [("follow", None)]),
        ("movement: dolly, direction: forward", [("dolly", "in")]),
        ("镜头运动: 缓慢推进", [("dolly", "in")]),
    ],
)
def test_camera_moves_in_many_shapes(text, expected):
    form = form_of(text)
    assert [(move.move.value.kind, move.move.value.direction) for move in form.camera] == expected


def test_motion_without_a_camera_is_an_action():
    form = form_of("subject: a dog, motion: runs through the snow")
    assert form.camera == ()
    assert [leaf.value for leaf in form.actions] == ["runs through the snow"]


def test_values_end_where_their_kind_ends():
    form = form_of("camera: pan left, speed: 2, a red ball rolls past, seed: 4")
    assert [leaf.value for leaf in form.prose] == ["a red ball rolls past"]
    assert form.parameters[0].value == Parameter(name="seed", value=4)
    assert [subject.name.value for subject in form_of("subject: a red, shiny ball, seed: 4").subjects] == [
        "a red, shiny ball"
    ]


def test_a_misspelt_key_is_mended_and_less_sure():
    form = form_of("camera_movment: pan_left, lightning: soft, subjct: a fox")
    assert form.camera[0].move.confidence < 1
    assert [subject.name.value for subject in form.subjects] == ["a fox"]


def test_settings_of_every_shape():
    form = form_of("a dog, 81 frames, 16 fps, 832x480, cfg 6, 50 steps")
    assert {leaf.value.name: leaf.value.value for leaf in form.parameters} == {
        "frames": 81, "fps": 16, "size": "832x480", "guidance": 6, "steps": 50,
    }  # fmt: skip
    assert [leaf.value for leaf in form.prose] == ["a dog"]
    command = form_of('--prompt "A fox runs." --size 1280*720 --sample_steps 40 --base_seed 42')
    assert [leaf.value for leaf in command.prose] == ["A fox runs."]
    assert [leaf.value.name for leaf in command.parameters] == ["size", "steps", "seed"]
    loras = form_of('{"loras": [{"name": "toy", "strength": 0.8}, "film"], "lora": {"noir": 1}}')
    assert [(leaf.value.value, leaf.value.strength) for leaf in loras.parameters] == [
        ("toy", 0.8),
        ("film", None),
        ("noir", 1),
    ]


def test_bars_between_keys_are_no_windows():
    form = form_of("ACTION: rolling | CAMERA: pan left | LIGHT: soft")
    assert form.timeline == ()
    assert [leaf.value for leaf in form.actions] == ["rolling"]


def test_a_heading_alone_is_read_as_one():
    form = form_of("Positive prompt: a fox on a hill. Negative prompt: blurry, text")
    assert [leaf.value for leaf in form.prose] == ["a fox on a hill."]
    assert [leaf.value for leaf in form.negatives] == ["blurry", "text"]


def test_how_far_and_how_long_may_follow_a_move():
    (move,) = form_of("subject: a dog | action: runs | camera: orbit clockwise 90deg over 4s").camera
    assert move.magnitude is not None
    assert move.end is not None
    assert (move.magnitude.value, move.end.value) == (Amount(value=90, unit="deg"), Amount(value=4, unit="s"))


@pytest.mark.parametrize(
    "text", ["Camera: dolly in, 2.5 m/s. A cat walks.", "Camera: dolly in at 2.5 m/s. A cat walks."]
)
def test_a_unit_ends_a_sentence_as_other_words_do(text):
    form = form_of(text)
    assert form.camera[0].speed.value == Amount(value=2.5, unit="m/s")
    assert [leaf.value for leaf in form.prose] == ["A cat walks."]


def test_numbers_with_exponents_are_settings():
    form = form_of("subject: a cat; frames: 1e2; seed: 1e3")
    assert [(leaf.value.name, leaf.value.value) for leaf in form.parameters] == [("frames", 100), ("seed", 1000)]


def test_chinese_brackets_weigh_and_hold_a_speed():
    (emphasis,) = form_of("一只猫，（毛茸茸：1.4），在草地上").emphasis
    assert emphasis.value == Emphasis(words="毛茸茸", weight=1.4)
    (move,) = form_of("主体=一只猫；运镜=左摇（缓慢）").camera
    assert (move.move.value, move.speed.value.word) == (Move(kind="pan", direction="left"), "缓慢")


def test_settings_behind_numbers_need_no_commas():
    form = form_of("a cat runs --ar 9:16 cfg: 7.5 Steps: 30 Seed: 4")
    assert [(leaf.value.name, leaf.value.value) for leaf in form.parameters] == [
        ("ratio", "9:16"), ("guidance", 7.5), ("steps", 30), ("seed", 4),
    ]  # fmt: skip
    prose = "A cat in 2024 steps: it goes up the stairs."
    assert [leaf.value for leaf in form_of(prose).prose] == [prose]
