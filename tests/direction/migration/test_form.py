"""The form between dialects: leaves are found wherever they stand, and forms survive JSON."""

from filmgate.direction.migration.form import (
    Amount,
    Beat,
    CameraMove,
    Form,
    Leaf,
    Light,
    Move,
    Subject,
    Term,
    leaves,
    slots,
)

FORM = Form(
    subjects=(Subject(name=Leaf(value="ball"), count=Leaf(value=2), attributes=(Leaf(value="red"),)),),
    lights=(Light(azimuth=Leaf(value=Amount(value=45, unit="deg"))),),
    shot=(Leaf(value=Term(name="wide")), Leaf(value="hero shot")),
    camera=(CameraMove(move=Leaf(value=Move(kind="dolly", direction="in")), speed=Leaf(value=Amount(value=2.5))),),
    timeline=(Beat(content=Form(prose=(Leaf(value="then it rains"),))),),
)


def test_every_leaf_is_found_with_its_path():
    assert [path for path, _ in leaves(FORM)] == [
        "lights[0].azimuth",
        "shot[0]",
        "shot[1]",
        "subjects[0].name",
        "subjects[0].count",
        "subjects[0].attributes[0]",
        "camera[0].move",
        "camera[0].speed",
        "timeline[0].content.prose[0]",
    ]


def test_slots_compare_values_and_forget_where_they_stood():
    elsewhere = FORM.model_copy(update={"shot": tuple(leaf.model_copy(update={"span": (3, 9)}) for leaf in FORM.shot)})
    assert slots(elsewhere) == slots(FORM)
    assert slots(FORM)["shot[]"] == (Term(name="wide"), "hero shot")
    assert slots(FORM)["timeline[].content.prose[]"] == ("then it rains",)


def test_a_form_survives_json():
    assert Form.model_validate_json(FORM.model_dump_json()) == FORM
