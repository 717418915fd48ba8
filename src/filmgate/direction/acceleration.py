"""What a plan skips: recipes that a profile may use, the gates that they need, and why one is taken or not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from filmgate.direction.devices import speed_of
from filmgate.direction.estimate import operations_of, tokens_of
from filmgate.direction.gates import outweighs, rests_on_as_much, too_few
from filmgate.direction.scopes import TRIED, calibration_for, difference, holds, scope_of
from filmgate.engine.sampling.step_cache import NO_RATIOS, Ratios, skipped_work
from filmgate.spec.acceleration import (
    Acceleration,
    AccelerationPlan,
    AccelerationUse,
    Calibration,
    EightBit,
    Gate,
    GuidanceReuse,
    MagCache,
    Recipe,
    RecipeChoice,
    Scope,
    SparseAttention,
    StepWork,
    TaylorSeer,
)
from filmgate.spec.model import ExpertName
from filmgate.spec.plan import Plan, Step
from filmgate.spec.speed import SpeedProfile

Way = tuple[Acceleration, ...]
"""Accelerations that are on together, in whichever experts."""
WAYS: Mapping[SpeedProfile, tuple[Way, ...]] = MappingProxyType({
    "balanced": (
        (EightBit(protected=0.1, last=1),),
        (EightBit(protected=0.1, last=1), SparseAttention(budget=0.4, protected=0.25)),
        (
            EightBit(protected=0.1, last=1), SparseAttention(budget=0.4, protected=0.25),
            GuidanceReuse(after=0.5, interval=2),
        ),
        (TaylorSeer(interval=2, order=2, protected=3),),
        (MagCache(threshold=0.12, longest=2, protected=0.2),),
        (MagCache(threshold=0.12, longest=2, protected=0.2), GuidanceReuse(after=0.4, interval=2)),
        (GuidanceReuse(after=0.5, interval=2),),
    ),
    "fast": (
        (EightBit(), SparseAttention(budget=0.25, protected=0.15)),
        (
            EightBit(), SparseAttention(budget=0.25, protected=0.15), TaylorSeer(interval=2, order=1, protected=4),
            GuidanceReuse(after=0.5, interval=2),
        ),
        (TaylorSeer(interval=2, order=2, protected=3), GuidanceReuse(after=0.4, interval=4)),
        (MagCache(threshold=0.18, longest=2, protected=0.2), GuidanceReuse(after=0.4, interval=3)),
        (MagCache(threshold=0.24, longest=3, protected=0.2), GuidanceReuse(after=0.5, interval=3)),
    ),
})  # fmt: skip
"""What is tried for a profile. Errors of what is on together add up, so that every way is gated by itself."""
ALLOWED: Mapping[SpeedProfile, tuple[SpeedProfile, ...]] = MappingProxyType(
    {"plain": (), "exact": (), "balanced": ("balanced",), "fast": ("balanced", "fast")}
)
"""Whose gates count for a profile: ``fast`` may do what passed at the narrower limits too."""


STEP_WISE = (MagCache, TaylorSeer, GuidanceReuse)
"""Accelerations that leave passes out; others make passes shorter."""
UNCALIBRATED = "not calibrated for this, `filmgate calibrate` does"


class Evidence(NamedTuple):
    """What is known of a model's weights: their hash (empty: not known), gates and calibrations of any scope."""

    weights: str = ""
    gates: Sequence[Gate] = ()
    calibrations: Sequence[Calibration] = ()


NO_EVIDENCE = Evidence()


def recipes(profile: SpeedProfile, plan: Plan) -> tuple[Recipe, ...]:
    """What may be tried: every way of the profile in the last expert alone, and in both; passes are made lighter only
    where there are kernels for it."""
    names: tuple[ExpertName, ...] = tuple(dict.fromkeys(step.expert for step in plan.steps))
    places = [names[-1:], names] if len(names) > 1 else [names]
    return tuple(
        tuple(AccelerationUse(expert=expert, acceleration=one) for expert in place for one in way)
        for way in WAYS.get(profile, ())
        if all(_possible(plan, one) for one in way)
        for place in places
    )


class Candidate(NamedTuple):
    """A recipe that may be tried, what it skips, the share of the work that it saves, and why it is not tried (empty:
    it is)."""

    recipe: Recipe
    work: tuple[StepWork, ...]
    saved: float
    reason: str


def candidates(profile: SpeedProfile, plan: Plan, calibration: Calibration | None) -> Iterator[Candidate]:
    """What trials of a profile are made of: what saves anything, and nothing twice."""
    seen: set[tuple[object, ...]] = set()
    for recipe in recipes(profile, plan):
        work = followed(plan, recipe, calibration, profile).work
        saved = share_saved(plan, work, recipe)
        beside = tuple(use for use in recipe if not isinstance(use.acceleration, STEP_WISE))
        reasons = (
            (calibration is None and any(isinstance(use.acceleration, MagCache) for use in recipe), UNCALIBRATED),
            (bool(impossible(plan, recipe)), impossible(plan, recipe)),
            (not saved and not beside, "it saves nothing"),
            ((work, beside) in seen, "the same steps as another"),
        )
        reason = next((reason for is_so, reason in reasons if is_so), "")
        if not reason:
            seen.add((work, beside))
        yield Candidate(recipe, work, saved, reason)


def followed(plan: Plan, recipe: Recipe, calibration: Calibration | None, profile: SpeedProfile) -> AccelerationPlan:
    """A recipe in a plan, whether a gate allows it or not."""
    ratios = NO_RATIOS if calibration is None else ratios_of(calibration)
    work = skipped_work(plan.steps, plan.guidance_rule, recipe, ratios)
    return AccelerationPlan(profile=profile, recipe=recipe, work=work)


def ratios_of(calibration: Calibration) -> Ratios:
    """The ratios by expert, branch and step."""
    return {(row.expert, row.branch): dict(enumerate(row.ratios, row.first)) for row in calibration.ratios}


def accelerate(plan: Plan, profile: SpeedProfile, evidence: Evidence = NO_EVIDENCE) -> AccelerationPlan:
    """What a plan skips under a profile, and why it skips no more: of all recipes whose gates pass the one that saves
    most.

    Args:
        plan: All else is decided.
        profile: What is asked for.
        evidence: What was measured.
    """
    if not ALLOWED[profile]:
        return AccelerationPlan(profile=profile)
    scope = scope_of(plan, evidence.weights)
    calibration = calibration_for(scope, evidence.calibrations)
    found: list[tuple[float, Recipe, Gate | None, str]] = []
    for allowed in reversed(ALLOWED[profile]):
        for one in candidates(allowed, plan, calibration):
            gate, reason = _verdict(plan, one, scope, profile, evidence, calibration)
            found.append((0.0 if gate is None else gate.saved, one.recipe, gate, reason))
    best = max(found, key=lambda one: one[0])
    if best[2] is None or not best[0]:
        return AccelerationPlan(profile=profile, considered=tuple(_choices(found, None)))
    taken = followed(plan, best[1], calibration, profile)
    return taken.model_copy(update={"gates": (best[2].id,), "considered": tuple(_choices(found, best[1]))})


def share_saved(plan: Plan, work: Sequence[StepWork], recipe: Recipe = ()) -> float:
    """The part of all passes that are not made; what makes passes shorter counts as far as it is expected to."""
    made = plan.model_copy(update={"acceleration": AccelerationPlan(work=tuple(work))})
    length = sum(made.passes_of(step.index) * _length(plan, recipe, step) for step in plan.steps)
    return 1 - length / made.pass_counts.total


def _length(plan: Plan, recipe: Recipe, step: Step) -> float:
    """How long a pass of a step is expected to take, beside one that nothing makes shorter."""
    load = operations_of(plan.model, tokens_of(plan.model, plan.latent), plan.model.dit.text_len)
    speed = speed_of(plan.device, plan.precision, plan.speed)
    products, attention = load.products / speed.products, load.attention / speed.attention
    whole = products + attention
    for use in recipe:
        one, early = use.acceleration, step.index / len(plan.steps)
        if use.expert != step.expert or not isinstance(one, EightBit | SparseAttention) or early < one.protected:
            continue
        if isinstance(one, SparseAttention):
            attention *= min(1.0, one.budget + _CHOICE)
        elif step.index < len(plan.steps) - one.last:
            products *= _EIGHT_BIT_PRODUCTS if one.linear else 1.0
            attention *= _EIGHT_BIT_ATTENTION if one.attention else 1.0
    return (products + attention) / whole


_EIGHT_BIT_PRODUCTS, _EIGHT_BIT_ATTENTION = 0.55, 0.80
"""Time in eight bits beside that in bf16: 1463 to 802 TFLOP/s, and 764 to 604, on an H200."""
_CHOICE = 0.05
"""What choosing blocks and reading the others as their means takes, beside dense attention."""
_BLOCK, _LEAST_BLOCKS = 128, 16
"""Tokens of a block, which is also the width of heads that there are kernels for; videos of fewer are read whole."""


def _choices(found: Sequence[tuple[float, Recipe, Gate | None, str]], taken: Recipe | None) -> Iterator[RecipeChoice]:
    for saved, recipe, gate, reason in found:
        if recipe == taken:
            yield RecipeChoice(recipe=recipe, taken=True, reason=reason)
        elif gate is not None:
            yield RecipeChoice(recipe=recipe, taken=False, reason=f"passes too, and saves {saved:.0%}")
        else:
            yield RecipeChoice(recipe=recipe, taken=False, reason=reason)


def _verdict(
    plan: Plan, one: Candidate, scope: Scope, profile: SpeedProfile, evidence: Evidence, calibration: Calibration | None
) -> tuple[Gate | None, str]:
    """The gate that allows a recipe, and why; or None, and why not."""
    recipe = one.recipe
    ever = [gate for gate in evidence.gates if gate.recipe == recipe and gate.profile in ALLOWED[profile]]
    here = [gate for gate in ever if holds(gate.scope, scope)]
    if reason := impossible(plan, recipe) or ("" if here else _missing(ever, scope, one.reason)):
        return None, reason
    counting = [gate for gate in here if not any(outweighs(other, gate) for other in here)]
    # Where two count, for each has what the other lacks, both must pass.
    gate = min(counting, key=lambda gate: (gate.passed, not too_few(gate.checks)))
    reasons = (
        (not gate.passed, f"gate {gate.id} failed: {gate.reason}"),
        (bool(too_few(gate.checks)), f"gate {gate.id} licenses nothing: {too_few(gate.checks)}"),
        (calibration is None and any(isinstance(use.acceleration, MagCache) for use in recipe),
         "its ratios were not calibrated for this: `filmgate calibrate` does"),
        (gate.work not in ((), one.work),
         f"gate {gate.id} is of other steps, by another calibration than holds now: `filmgate gate` measures these"),
    )  # fmt: skip
    against = next((reason for is_so, reason in reasons if is_so), "")
    passed_over = "".join(
        f"; gate {one.id} does not count: {_why_lighter(one, counting)}" for one in here if one not in counting
    )
    return None if against else gate, (against or f"gate {gate.id} passed: {gate.reason}") + passed_over


def _missing(ever: Sequence[Gate], scope: Scope, untried: str) -> str:
    """Why no gate of a recipe, of those that were ever measured with an architecture, holds here; nothing is advised
    that trials would leave out."""
    if untried not in ("", UNCALIBRATED):
        return untried
    how = "`filmgate calibrate`, then `filmgate gate` do" if untried else "`filmgate gate` does"
    own = [gate for gate in ever if gate.scope.weights == scope.weights and gate.scope.model == scope.model]
    if own:
        newest = max(own, key=lambda gate: gate.created)
        return f"the gate is of {difference(newest.scope, scope)}: {how}, with the same options"
    # To who has no weights here those of others are nothing to compare with.
    return f"no gate was measured{' of these weights' if ever and scope.weights else ''}: {how}"


def _why_lighter(gate: Gate, counting: Sequence[Gate]) -> str:
    """Why a gate does not count beside others."""
    older = any(outweighs(other, gate) and rests_on_as_much(gate, other) for other in counting)
    return "it is older" if older else "it rests on fewer prompts or levels"


def impossible(plan: Plan, recipe: Recipe) -> str:
    """Why a recipe is of no use for a plan whatever a gate says; empty if it may be."""
    kinds = {type(use.acceleration) for use in recipe}
    narrow = any(isinstance(use.acceleration, EightBit) and use.acceleration.attention for use in recipe)
    ring = plan.model.dit.heads % plan.layout.sequence > 0
    reasons = (
        (plan.operation not in TRIED,
         "gates can be measured of text to video and text to picture alone: there is no way to have one for this task"),
        (bool(plan.loras), "LoRAs change the weights that gates are measured on"),
        (plan.residency.weights not in ("as_computed", "as_stored"),
         "weights in few bits are not those that gates are measured on"),
        (plan.guidance_rule.method != "cfg", "gates are measured with classifier-free guidance"),
        (plan.distilled is not None, "a few-step preset leaves nothing to skip"),
        (plan.layout.cfg > 1 and GuidanceReuse in kinds,
         "the two passes of guidance run side by side on two devices: nothing is saved"),
        (ring and SparseAttention in kinds, "attention that goes round in a ring of devices reads every block"),
        (ring and narrow, "attention that goes round in a ring of devices is not in eight bits"),
    )  # fmt: skip
    return next((reason for holds, reason in reasons if holds), "")


def _possible(plan: Plan, acceleration: Acceleration) -> bool:
    """Whether a plan's device and model have kernels for an acceleration; a plan does not know what is installed."""
    if not isinstance(acceleration, EightBit | SparseAttention):
        return True
    dit = plan.model.dit
    if plan.device.kind != "cuda" or plan.precision != "bf16" or dit.dim != dit.heads * _BLOCK:
        return False
    if isinstance(acceleration, SparseAttention):
        return tokens_of(plan.model, plan.latent) >= _LEAST_BLOCKS * _BLOCK
    return not (acceleration.linear and plan.residency.moves_blocks)


def recipe_text(recipe: Recipe) -> str:
    """A recipe in words: ``TaylorSeer, one step in 2, order 2, in low-noise``."""
    experts: dict[Acceleration, list[str]] = {}
    for use in recipe:
        experts.setdefault(use.acceleration, []).append(use.expert.replace("_", "-"))
    together: dict[str, list[str]] = {}
    for acceleration, names in experts.items():
        together.setdefault(" and ".join(names), []).append(acceleration_text(acceleration))
    return "; ".join(f"{' + '.join(texts)}, in {names}" for names, texts in together.items())


def acceleration_text(acceleration: Acceleration) -> str:
    """One acceleration with its numbers."""
    if isinstance(acceleration, MagCache):
        return f"MagCache {acceleration.threshold:g}, at most {acceleration.longest} in a row"
    if isinstance(acceleration, TaylorSeer):
        return f"TaylorSeer, one step in {acceleration.interval}, order {acceleration.order}"
    if isinstance(acceleration, GuidanceReuse):
        return f"guidance computed one step in {acceleration.interval} after {acceleration.after:.0%}"
    if isinstance(acceleration, SparseAttention):
        more = [", each head its own share"] * acceleration.per_head
        more += [f", chosen by place too ({acceleration.radial:g})"] * (acceleration.radial > 0)
        more += [f", lists kept for {acceleration.refresh} steps"] * (acceleration.refresh > 1)
        text = f"attention to {acceleration.budget:.0%} of the blocks after {acceleration.protected:.0%}"
        return text + "".join(more)
    what = [name for name, on in (("products", acceleration.linear), ("attention", acceleration.attention)) if on]
    return f"{' and '.join(what)} in eight bits"
