"""Forms as objects: JSON, literals of Python, YAML."""

from __future__ import annotations

import json
import pprint

from filmgate.direction.migration.dialects.amounts import write_amount
from filmgate.direction.migration.dialects.plain import LIGHT_FIELDS, TERM_LISTS, amount_or_words, words_of
from filmgate.direction.migration.form import Amount, Beat, CameraMove, Form, Light, Subject


def keep_object(form: Form) -> Form:
    """Everything but leftovers; scales of numbers are the dialects' own, and not written down."""
    return form.model_copy(
        update={
            "camera": tuple(_without_scale(move) for move in form.camera),
            "leftovers": (),
            "timeline": tuple(beat.model_copy(update={"content": keep_object(beat.content)}) for beat in form.timeline),
        }
    )


def _without_scale(move: CameraMove) -> CameraMove:
    update = {}
    for name in ("speed", "magnitude"):
        leaf = getattr(move, name)
        if leaf is not None and leaf.value.full is not None:
            update[name] = leaf.model_copy(update={"value": leaf.value.model_copy(update={"full": None})})
    return move.model_copy(update=update) if update else move


def tree(form: Form) -> dict[str, object]:
    """A form as an object with the keys that people use."""
    made: dict[str, object] = {}
    for slot, terms in TERM_LISTS.items():
        if getattr(form, slot):
            made[slot] = [words_of(leaf.value, terms) for leaf in getattr(form, slot)]
    for name in ("lens", "focus"):
        if getattr(form, name):
            made[name] = [amount_or_words(leaf, "lens" if name == "lens" else "focus") for leaf in getattr(form, name)]
    made["lighting"] = [_light_tree(light) for light in form.lights]
    made["subjects"] = [_subject_tree(subject) for subject in form.subjects]
    for key, slot in (("scene", "scene"), ("actions", "actions"), ("title", "quoted"), ("audio", "audio")):
        made[key] = [leaf.value for leaf in getattr(form, slot)]
    groups: dict[int, list[object]] = {}
    for move in form.camera:
        groups.setdefault(move.group, []).append(_move_tree(move))
    made["camera"] = {"sequence": list(groups.values())} if len(groups) > 1 else next(iter(groups.values()), [])
    made["prompt"] = [leaf.value for leaf in form.prose]
    made["negative_prompt"] = [leaf.value for leaf in form.negatives]
    made["emphasis"] = [{"words": leaf.value.words, "weight": leaf.value.weight} for leaf in form.emphasis]
    made["quality"] = ", ".join(leaf.value for leaf in form.boosters)
    made["scenes"] = [_beat_tree(beat) for beat in form.timeline]
    made.update(_parameters(form))
    return {key: value for key, value in made.items() if value not in ([], "", {})}


def _light_tree(light: Light) -> dict[str, object]:
    made: dict[str, object] = {}
    for name, slot in LIGHT_FIELDS.items():
        leaf = getattr(light, name)
        if leaf is None:
            continue
        if isinstance(leaf.value, Amount):
            made[name] = write_amount(leaf.value)
        elif slot is not None:
            made["light_angle" if name == "angle" else name] = words_of(leaf.value, slot)
        else:
            made["description" if name == "words" else name] = leaf.value
    return made


def _subject_tree(subject: Subject) -> dict[str, object]:
    made: dict[str, object] = {"name": subject.name.value}
    if subject.count is not None:
        made["count"] = subject.count.value
    if subject.attributes:
        made["attributes"] = [leaf.value for leaf in subject.attributes]
    return made


def _move_tree(move: CameraMove) -> dict[str, object]:
    made: dict[str, object] = {"type": move.move.value.kind}
    if move.move.value.direction is not None:
        made["direction"] = move.move.value.direction
    for name in ("speed", "magnitude"):
        leaf = getattr(move, name)
        if leaf is not None:
            plain = leaf.value.unit == "" and leaf.value.full is None
            made[name] = leaf.value.value if plain else write_amount(leaf.value)
    if move.easing is not None:
        made["easing"] = words_of(move.easing.value, "easing")
    for name in ("begin", "end"):
        leaf = getattr(move, name)
        if leaf is not None:
            made["start" if name == "begin" else "end"] = write_amount(leaf.value)
    return made


def _beat_tree(beat: Beat) -> dict[str, object]:
    made: dict[str, object] = {}
    if beat.begin is not None:
        made["start"] = write_amount(beat.begin.value)
    if beat.end is not None:
        made["end"] = write_amount(beat.end.value)
    return made | tree(beat.content)


def _parameters(form: Form) -> dict[str, object]:
    made: dict[str, object] = {}
    for leaf in form.parameters:
        parameter = leaf.value
        if parameter.name == "lora":
            entry: dict[str, object] = {"name": parameter.value}
            if parameter.strength is not None:
                entry["strength"] = parameter.strength
            loras = made.setdefault("loras", [])
            assert isinstance(loras, list)
            loras.append(entry)
        else:
            made[parameter.name] = parameter.value
    return made


def write_json(form: Form) -> str:
    """An object in JSON."""
    return json.dumps(tree(form), ensure_ascii=False, indent=1)


def write_python(form: Form) -> str:
    """A literal of Python in a fence, with a name in front."""
    return f"```python\nprompt = {pprint.pformat(tree(form), sort_dicts=False, width=100)}\n```"


def write_yaml(form: Form) -> str:
    """An object in YAML's block style, in a fence: flat ones would be lists of keys otherwise."""
    import yaml

    text: str = yaml.safe_dump(tree(form), allow_unicode=True, sort_keys=False, width=10_000)
    return f"```yaml\n{text}```"
