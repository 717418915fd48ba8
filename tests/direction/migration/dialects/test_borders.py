"""Where one part of a prompt ends and the next begins: nothing of one is swallowed by the other."""

import pytest

from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.form import Amount, Form, Move, Term, slots


def said(text: str) -> dict[str, tuple[object, ...]]:
    """What a text says, slot by slot."""
    return slots(read(text).form)


def camera(form: Form) -> list[tuple[str, str | None]]:
    """Kind and direction of every camera move."""
    return [(move.move.value.kind, move.move.value.direction) for move in form.camera]


def test_words_behind_a_quantity_are_not_part_of_it():
    found = said("camera: pan left, speed: 3 a cat jumps")
    assert found["camera[].speed"] == (Amount(value=3),)
    assert found["prose[]"] == ("a cat jumps",)
    form = read("一个女孩在海边奔跑，camera: pan left, speed: 3, 镜头缓慢推进。").form
    assert camera(form) == [("pan", "left"), ("dolly", "in")]
    assert [leaf.value for leaf in form.prose] == ["一个女孩在海边奔跑"]
    assert said("camera_control_direction: LeftUp, camera_control_speed: 1/54, a dog runs")["prose[]"] == (
        "a dog runs",
    )
    assert said("Pan: 5, Tilt: -3, a dog runs")["prose[]"] == ("a dog runs",)


@pytest.mark.parametrize(
    "text",
    [
        "Negative: blurry. Subject: a cat. Camera: pan left.",
        "negative: blurry; subject: a cat; camera: pan left",
        "subject: a cat, negative prompt: blurry, camera: pan left",
        "Negative prompt: blurry\nsubject: a cat\ncamera: pan left",
    ],
)
def test_a_negative_list_ends_at_the_next_key(text):
    assert said(text) == {
        "subjects[].name": ("a cat",),
        "camera[].move": (Move(kind="pan", direction="left"),),
        "negatives[]": ("blurry",),
    }


def test_what_is_spoken_is_prose_where_nothing_else_is_a_key():
    text = 'Dialogue: A man says: "Go." She leaves.'
    assert [segment.dialect for segment in read(text).segments] == ["natural"]


def test_objects_inside_of_objects_stay_inside():
    assert said('{"shot": {"type": "wide shot"}, "subject": "a fox"}') == {
        "shot[]": (Term(name="wide"),),
        "subjects[].name": ("a fox",),
    }
    found = said('{"subject": "a cat", "dialogue": {"character": "woman", "line": "Hello"}}')
    assert found == {"subjects[].name": ("a cat",), "audio[]": ("woman", "Hello")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"镜头":{"运动":"环绕","方向":"左"}}', [("orbit", "left")]),
        ('{"镜头":{"类型":"推","速度":2}}', [("dolly", "in")]),
        ("镜头：推", [("dolly", "in")]),
        ("镜头：摇，方向：左", [("pan", "left")]),
        ("运镜：推拉摇移，主体：猫", [("dolly", "in"), ("dolly", "out"), ("pan", None), ("truck", None)]),
    ],
)
def test_short_chinese_moves(text, expected):
    assert camera(read(text).form) == expected


@pytest.mark.parametrize(
    "text",
    [
        "dolly_forward, key_light_45deg, speed 2.5",
        "[camera_movement: dolly_forward] [speed: 2.5] [lighting: key_light_45deg]",
        "<camera_movement>dolly_forward</camera_movement> <speed>2.5</speed>\n<lighting>key_light_45deg</lighting>",
        "CAMERA MOVEMENT - dolly_forward, SPEED - 2.5, LIGHTING - key_light_45deg",
    ],
)
def test_technical_lists_without_colons_are_no_plain_language(text):
    assert said(text) == {
        "camera[].move": (Move(kind="dolly", direction="in"),),
        "camera[].speed": (Amount(value=2.5),),
        "lights[].role": ("key",),
        "lights[].azimuth": (Amount(value=45, unit="deg"),),
    }


def test_a_list_of_lights_under_one_key():
    key, fill, rim = read("lighting: three-point, key 45deg left, fill ratio 4:1, rim 150deg").form.lights[1:]
    assert key.role is not None
    assert (key.role.value, key.side and key.side.value, key.azimuth and key.azimuth.value.value) == ("key", "left", 45)
    assert (fill.role and fill.role.value, fill.ratio and fill.ratio.value.value) == ("fill", 4)
    assert (rim.angle and rim.angle.value, rim.azimuth and rim.azimuth.value.value) == (Term(name="edge"), 150)


def test_schedules_on_one_line():
    form = read("zoom: 0:(1.04), angle: 0:(0.5), translation_z: 0:(2), prompt: a cat").form
    assert camera(form) == [("zoom", "in"), ("roll", "clockwise"), ("dolly", "in")]
    assert [leaf.value for leaf in form.prose] == ["a cat"]
    (zoom,) = read("zoom: 0:(1.04), 60:(1.0)").form.camera
    assert zoom.end is not None
    assert zoom.end.value == Amount(value=60, unit="frame")


def test_a_template_is_filled_with_the_first_of_its_values_and_the_macro_is_left_over():
    form = read('! {Animal}="cat","dog" : {Place}="lake","city"\nA {Animal} runs to the {Place}.').form
    assert [leaf.value for leaf in form.prose] == ["A cat runs to the lake."]
    assert [leaf.value for leaf in form.leftovers] == ['! {Animal}="cat","dog" : {Place}="lake","city"']


def test_embeddings_are_no_words_of_a_prompt():
    form = read("a castle, a moat, (old:1.2), embedding:badhand").form
    assert [leaf.value for leaf in form.leftovers] == ["embedding:badhand"]
    assert [leaf.value for leaf in form.prose] == ["a castle", "a moat", "old"]
