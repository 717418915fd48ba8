"""Prompts that calibration and gates are measured on: fixed, so that what is stored can be measured again."""

from __future__ import annotations

from filmgate.spec.model import ModelDescription

FIRST_SEED = 4242
"""The noise of the first prompt; the others count up."""
OPEN = (
    "A woman in a red coat walks along a rainy street at night, neon signs reflect in the puddles, the camera follows.",
    "A golden retriever runs through shallow water on a beach at sunrise, slow motion, drops sparkle in the light.",
    "An old fisherman mends a net on a wooden pier, close-up of his hands, soft overcast light, static camera.",
    "A train crosses a stone bridge over a green valley, aerial view, the camera orbits slowly, clear morning.",
    "Steam rises from a cup of coffee on a window sill, snow falls outside, shallow depth of field, static camera.",
    "A dancer in white spins on an empty stage, a single spotlight, dust in the air, the camera moves in.",
    "Waves break against a lighthouse in a storm, dark clouds, spray flies over the railing, wide shot.",
    "A child blows out candles on a cake, faces around the table glow in warm light, handheld camera.",
)
TOY = (
    "a red ball rolls to the right past a blue cube, sunset",
    "a green cone, the camera orbits left, night",
    "a yellow cube slides to the left, fog",
    "two blue balls, day",
    "a purple ball bounces, the camera dollies in",
    "a white cone to the left of a red cube, overcast",
    "an orange cube spins, night",
    "a blue ball rolls to the left behind a green cube, day",
)


def trial_prompts(model: ModelDescription, count: int) -> list[tuple[str, int]]:
    """``count`` prompts in words that a model knows, each with its seed; they repeat with other seeds."""
    known = OPEN if model.vocabulary is None else TOY
    return [(known[number % len(known)], FIRST_SEED + number) for number in range(count)]
