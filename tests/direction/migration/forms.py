"""Forms for the tests of migration, with provenance made up."""

from filmgate.direction.migration.form import Amount, CameraMove, Form, Leaf, Light, Move, Reading, Segment, Term

TEXT = "." * 1000


def leaf(value, raw="", at=0, **kind):
    return Leaf(value=value, raw=raw or (value if isinstance(value, str) else ""), span=(at, at + 1), **kind)


def term(name, raw="", at=0):
    return leaf(Term(name=name), raw or name.replace("_", " "), at)


def move(kind, direction=None, raw="", at=0, **more):
    return CameraMove(move=leaf(Move(kind=kind, direction=direction), raw or f"{kind} {direction or ''}", at), **more)


def amount(value, unit="", **more):
    return leaf(Amount(value=value, unit=unit, **more), f"{value}{unit}")


def reading(form, dialect="key_value"):
    return Reading(text=TEXT, segments=(Segment(span=(0, len(TEXT)), dialect=dialect, score=1.0),), form=form)


SEED = Form(
    camera=(move("dolly", "in", "dolly_forward", speed=amount(2.5)),),
    lights=(Light(role=leaf("key", "key_light_45deg"), azimuth=leaf(Amount(value=45, unit="deg"), "45deg")),),
)
"""camera_movement: dolly_forward, speed: 2.5, lighting: key_light_45deg"""
