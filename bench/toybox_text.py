"""Measurements of what prompts say: attributes, their ceilings, paraphrases, triples that training never saw, settings,
and another model beside."""

from __future__ import annotations

import numpy as np

from filmgate.training.paraphrases import facts_found, in_world, read_paraphrases
from filmgate.training.truth import (
    TUNING_SEED,
    independent_difference,
    interval,
    paired_difference,
    questions,
    score,
)
from filmgate.training.world.catalogue import Triples
from toybox_bench import HERE, SHOWN, Bench, draw_sheet
from toybox_claims import GOALS
from toybox_record import Record

TOGETHER = ("triple", "colour", "shape", "motion", "two_object_binding")
"""Attributes that may suffer where things come together that never did."""
SINGLES = 5
"""Clips painted alone, to time one."""


def truth(bench: Bench, record: Record) -> None:
    """All questions, scored; the prompts' answers are kept, for pairing with another model's."""
    seen = bench.painted
    draw_sheet(bench.options.sheet, "", seen, [q.prompt for q in bench.asked])
    record.table("truth.model", "painted", score(seen.reading, bench.asked), answers=True)
    record.put("seconds_per_clip.in_batches", round(seen.seconds, 4))


def wall(bench: Bench, record: Record) -> None:
    """Seconds for one clip alone: painting and decoding, after one that warms up."""
    told, spent = bench.told_beside(bench.scenes), []
    for number in range(min(SINGLES, len(bench.asked))):
        question, given = bench.asked[number], None if told is None else told(slice(number, number + 1))
        began = bench.now()
        latents = bench.painter.paint([question.prompt], [question.seed], bench.settings, *([given] if given else []))
        bench.painter.decode(latents)
        spent.append(bench.now() - began)
    record.number("seconds_per_clip.alone", interval(np.array(spent[1:] or spent)))


def ceilings(bench: Bench, record: Record) -> None:
    """The same questions on renders of their scenes, and on what the VAE makes of those."""
    for name in ("rendered", "coded"):
        reading = getattr(bench.mirror, name).reading
        record.table(f"ceilings.{name}", f"ceiling: {name}", score(reading, bench.asked), answers=True)


def paraphrases(bench: Bench, record: Record) -> None:
    """Prompts outside the grammar: the share of their stated facts that the clips show, and whether all are shown.

    Those that state what only richer worlds have are left out for a model that was never shown it.
    """
    asked = in_world(read_paraphrases(HERE / "paraphrases.jsonl"), bench.world)
    seen = bench.see(bench.painter, [p.prompt for p in asked], [p.seed for p in asked], bench.settings, len(asked))
    draw_sheet(bench.options.sheet, "-paraphrases", seen, [p.prompt for p in asked], len(asked))
    found = [facts_found(seen.reading, clip, p) for clip, p in enumerate(asked)]
    rows = {"facts": [np.mean(list(facts.values())) for facts in found], "complete": [all(f.values()) for f in found]}
    for name in sorted({name for facts in found for name in facts}):
        rows[f"only {name}"] = [facts[name] for facts in found if name in facts]
    record.table("paraphrases", "paraphrases", {k: np.array(v, dtype=np.float64) for k, v in rows.items()})


def triples(bench: Bench, record: Record) -> None:
    """Colour, shape and motion of an object that never came together in training, beside such that did: as many other
    prompts of each kind, and the difference."""
    rows = {}
    kinds: tuple[Triples, ...] = ("seen", "held out")
    for name in kinds:
        asked = bench.asked_about(bench.options.triple_prompts, name)
        rows[name] = score(bench.answers(bench.painter, asked, bench.settings).reading, asked)
        record.table(f"triples.{name.replace(' ', '_')}", f"triples {name}", rows[name])
    for attribute in sorted(set(rows["seen"]) & set(rows["held out"]) & {*TOGETHER}):
        difference = independent_difference(rows["seen"][attribute], rows["held out"][attribute])
        record.number(f"triples.drop.{attribute}", difference.scaled(100, 2))


def sweep(bench: Bench, record: Record) -> None:
    """Other settings on other questions, one line each, and the best of them as fields of a preset.

    The best has the highest mean over the attributes that have a goal.
    """
    asked = questions(bench.options.sweep_prompts, seed=TUNING_SEED, world=bench.world)
    tried = {}
    for number, changes in enumerate(("", *bench.options.sweep)):
        settings = bench.settings.changed(changes)
        record.put(f"sweep.{number}.settings", str(settings))
        seen = bench.answers(bench.painter, asked, settings)
        rows = score(seen.reading, asked)
        record.table(f"sweep.{number}.truth", str(settings), rows)
        tried[settings] = float(np.mean([rows[name].mean() for name, goal in GOALS.items() if goal and name in rows]))
        record.put(f"sweep.{number}.mean", round(100 * tried[settings], 2))
    best = max(tried, key=lambda settings: tried[settings])
    record.put("preset", {"guidance_high": best.guidance.high, "guidance_low": best.guidance.low, "shift": best.shift,
                          "boundary": best.boundary, "steps": best.steps})  # fmt: skip
    print(f"best: {best}", flush=True)


def dense(bench: Bench, record: Record) -> None:
    """The dense partner on the same questions and seeds, and how far the model is from it."""
    seen = bench.painted_by_dense
    draw_sheet(bench.options.sheet, "-dense", seen, [q.prompt for q in bench.asked], SHOWN)
    others, ours = score(seen.reading, bench.asked), score(bench.painted.reading, bench.asked)
    record.table("truth.dense", "painted by the dense partner", others, answers=True)
    for name, row in ours.items():
        difference = paired_difference(row, others[name]).scaled(100, 2)
        record.number(f"pair_minus_dense.{name}", difference)
