"""Technical-style prompts about the toy world, as people wrote them for other tools, with the facts that they state.

Every prompt states a whole scene: one or two objects, what they do, ground, light and the camera's move. The notations
are those that ``filmgate migrate prompt`` reads; job settings and booster tags are in them as they are in real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from filmgate.training.truth import HELD_OUT_SEED, Question, question_scenes
from filmgate.training.world.captions import Facts, Thing, facts

SEED = HELD_OUT_SEED + 2
"""Scenes that no other benchmark asks about."""
_MOTIONS = {
    "still": "sits still", "left": "moves left", "right": "moves right", "toward": "moves toward the camera",
    "away": "moves away", "bounce": "bounces", "spin": "spins", "rise": "rises", "fall": "falls",
}  # fmt: skip
_CAMERAS = {
    "static": "static", "dolly in": "dolly_forward", "dolly out": "dolly_backward",
}  # fmt: skip
_BRACKETS = {
    "static": "Static shot", "dolly in": "Push in", "dolly out": "Pull out", "crane up": "Pedestal up",
    "crane down": "Pedestal down",
}  # fmt: skip


def technical_questions(count: int) -> list[Question]:
    """``count`` prompts with the facts that they state and the seeds to paint them with."""
    scenes = question_scenes(4 * count, seed=SEED).labels
    kept = [scene for scene in facts(scenes) if 1 <= len(scene.things) <= 2 and not scene.alike][:count]
    return [Question(_NOTATIONS[i % len(_NOTATIONS)](scene), scene, seed=7000 + i) for i, scene in enumerate(kept)]


def _look(thing: Thing) -> str:
    size = "" if thing.size == "medium" else thing.size
    material = "" if thing.material == "plain" else thing.material
    return " ".join(word for word in (size, material, thing.colour, thing.shape) if word)


def _subject(scene: Facts) -> str:
    first, *others = scene.things
    return _one(first) + "".join(f" {scene.relation} {_one(thing)}" for thing in others)


def _one(thing: Thing) -> str:
    look = _look(thing)
    return f"{'an' if look[0] in 'aeiou' else 'a'} {look}"


def _action(scene: Facts) -> str:
    first, *others = scene.things
    moving = [
        f"the {thing.colour} {thing.shape} {_MOTIONS[thing.motion]}" for thing in others if thing.motion != "still"
    ]
    return " and ".join([_MOTIONS[first.motion], *moving])


def _camera(scene: Facts) -> str:
    return _CAMERAS.get(scene.camera, scene.camera.replace(" ", "_"))


def _light(scene: Facts) -> tuple[str, str]:
    return ("lighting", "overcast") if scene.light == "overcast" else ("time_of_day", scene.light)


def _pairs(scene: Facts) -> str:
    key, light = _light(scene)
    return (
        f"subject: {_subject(scene)}; action: {_action(scene)}; environment: {_ground(scene)}; {key}: {light}; "
        f"camera_movement: {_camera(scene)}; speed: 1.0; fps: 12; seed: 42"
    )


def _ground(scene: Facts) -> str:
    return {"tiles": "tiled floor", "stripes": "striped floor"}.get(scene.ground, scene.ground)


def _object(scene: Facts) -> str:
    key, light = _light(scene)
    place = {"location": f"on {_ground(scene)}"}
    told = {
        "subject": _subject(scene), "action": _action(scene), "scene": place, key: light,
        "camera": {"movement": _camera(scene), "speed": 1.0}, "quality": ["masterpiece", "8k"], "steps": 20,
    }  # fmt: skip
    return json.dumps(told)


def _weighted(scene: Facts) -> str:
    return (
        f"masterpiece, best quality, 8k, ({_subject(scene)}:1.2), {_action(scene)}, on {_ground(scene)}, "
        f"{scene.light}, camera {scene.camera}, <lora:detail:0.6> Negative prompt: lowres, bad quality"
    )


def _bracketed(scene: Facts) -> str:
    if scene.camera.startswith("orbit"):
        return _pairs(scene)
    move = _BRACKETS.get(scene.camera, scene.camera.capitalize())
    return f"[{move}] {_subject(scene)}, {_action(scene)}, on {_ground(scene)}, {scene.light}"


def _flagged(scene: Facts) -> str:
    move = "static camera" if scene.camera == "static" else scene.camera
    return (
        f"{_subject(scene)}, {_action(scene)}, on {_ground(scene)}, {scene.light}, {move} "
        "--ar 5:3 --v 6 --s 250 --no text"
    )


_NOTATIONS: tuple[Callable[[Facts], str], ...] = (_pairs, _object, _weighted, _bracketed, _flagged)
