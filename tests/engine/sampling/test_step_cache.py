"""What is skipped, and what stands in: against the published rules, written again from their descriptions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.takes import make_plan

from filmgate.engine.sampling.step_cache import (
    magcache_skips,
    predicted,
    remembered,
    rows,
    skipped_work,
    skips_of,
    taylorseer_skips,
)
from filmgate.spec import AccelerationUse, GuidanceReuse, GuidanceRule, MagCache, StepWork, TaylorSeer

CFG = GuidanceRule()
COMPUTED = StepWork()
RATIOS = st.lists(st.floats(0.5, 1.5), min_size=1, max_size=60)
BRANCHES = ("conditional", "unconditional")


def steps_of(experts="hhhlllll", guidance=3.0, **changes):
    names = {"h": "high_noise", "l": "low_noise", "d": "dense"}
    template = make_plan().steps[0]
    count = len(experts)
    return tuple(
        template.model_copy(
            update={
                "index": i, "expert": names[e], "guidance": guidance, "adapted": True, "sigma": 1 - i / count,
                "sigma_next": 1 - (i + 1) / count, "timestep": 1000 - 1000 * i / count, **changes,
            }
        )
        for i, e in enumerate(experts)
    )  # fmt: skip


def recipe(acceleration, *experts):
    return tuple(AccelerationUse(expert=expert, acceleration=acceleration) for expert in experts)


def told(steps, value=1.0):
    experts = {step.expert for step in steps}
    return {(e, b): {s.index: value for s in steps if s.expert == e} for e in experts for b in BRANCHES}


# ------------------------------------------------------------------------------------------------------------- MagCache


def public_magcache(ratios, threshold, longest, retention):
    """The rule of github.com/Zehong-Ma/MagCache for one branch of a model with one expert: from `retention` of all
    steps on, the running product of ratios is compared with 1, the distances are added up, and a step is computed (and
    all three accounts are closed) as soon as the sum reaches the threshold or the row is longer than K."""
    state = {"product": 1.0, "sum": 0.0, "row": 0}
    decisions = []
    for number, ratio in enumerate(ratios):
        if number < len(ratios) * retention:
            decisions.append(False)
            continue
        state["product"] *= ratio
        state["row"] += 1
        state["sum"] += np.abs(1 - state["product"])
        fits = state["sum"] < threshold and state["row"] <= longest
        decisions.append(bool(fits))
        if not fits:
            state = {"product": 1.0, "sum": 0.0, "row": 0}
    return tuple(decisions)


@given(RATIOS, st.floats(0, 0.5), st.integers(1, 5), st.sampled_from([0.1, 0.2, 0.4]))
def test_magcache_decides_as_published_on_one_branch(ratios, threshold, longest, retention):
    rule = MagCache(threshold=threshold, longest=longest, protected=retention)
    protected = math.ceil(len(ratios) * retention)
    assert magcache_skips([ratios], rule, protected) == public_magcache(ratios, threshold, longest, retention)


def test_magcache_by_hand():
    """Threshold 0.06, K 2: errors 0.01 and 0.0299 add up to 0.0399; 0.05 in a row is too much with the next."""
    ratios = [1.0, 1.0, 0.99, 0.98, 0.97, 0.95, 0.99, 0.9, 1.0]
    rule = MagCache(threshold=0.06, longest=2, protected=0.2)
    #                                        c      c      0.01  0.0398 K>2    0.05  0.1095 0.1  first
    assert magcache_skips([ratios], rule, 2) == (False, False, True, True, False, True, False, False, True)


@given(st.lists(st.tuples(st.floats(0.5, 1.5), st.floats(0.5, 1.5)), min_size=1, max_size=60), st.floats(0, 0.5))
def test_a_step_is_skipped_only_while_every_branch_allows_it(pairs, threshold):
    rule = MagCache(threshold=threshold, longest=3)
    branches = list(zip(*pairs, strict=True))
    both = magcache_skips(branches, rule, 1)
    product, error = [1.0, 1.0], [0.0, 0.0]
    for skip, ratios in zip(both, pairs, strict=True):
        product = [before * ratio for before, ratio in zip(product, ratios, strict=True)]
        error = [before + abs(1 - value) for before, value in zip(error, product, strict=True)]
        if skip:
            assert max(error) < threshold
        else:
            product, error = [1.0, 1.0], [0.0, 0.0]


@given(RATIOS, st.integers(1, 9))
def test_threshold_zero_skips_nothing(ratios, longest):
    assert not any(magcache_skips([ratios], MagCache(threshold=0.0, longest=longest), 1))


@given(RATIOS, st.floats(0, 1), st.integers(1, 4), st.integers(0, 9), st.sets(st.integers(0, 59)))
def test_no_row_is_too_long_and_what_must_be_computed_is(ratios, threshold, longest, protected, forced):
    skips = magcache_skips([ratios], MagCache(threshold=threshold, longest=longest), protected, forced)
    assert not any(skips[: max(1, protected)])
    assert not any(skips[index] for index in forced if index < len(skips))
    assert "s" * (longest + 1) not in "".join("s" if skip else "c" for skip in skips)


def test_a_ratio_that_is_not_known_is_computed():
    assert magcache_skips([[1.0, 1.0, math.nan, 1.0]], MagCache(threshold=1.0), 1) == (False, True, False, True)


# ----------------------------------------------------------------------------------------------------------- TaylorSeer


def public_taylorseer(count, first_enhance, threshold):
    """The rule of github.com/Shenyi-Z/TaylorSeer: full steps until `first_enhance`; then a counter of cached steps
    since the last full one, which is full again when it stands at `fresh_threshold` - 1."""
    counter, decisions = 0, []
    for step in range(count):
        full = step < first_enhance or counter == threshold - 1
        counter = 0 if full else counter + 1
        decisions.append(not full)
    return tuple(decisions)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 6))
def test_taylorseer_decides_as_published(count, protected, interval):
    rule = TaylorSeer(interval=interval, protected=protected)
    assert taylorseer_skips(count, rule, protected) == public_taylorseer(count, protected, interval)


def test_interval_one_skips_nothing():
    assert not any(taylorseer_skips(30, TaylorSeer(interval=1), 1))


def public_factors(features, order):
    """Its derivatives: at every computed step the newest feature; each next one is the former less what it was at the
    last computed step, divided by the steps between."""
    factors, last = {}, None
    for step, feature in features:
        new = {0: feature}
        for i in range(order):
            if i not in factors:
                break
            new[i + 1] = (new[i] - factors[i]) / (step - last)
        factors, last = new, step
    return factors, last


@given(
    st.lists(st.tuples(st.integers(1, 4), st.floats(-9, 9)), min_size=1, max_size=8),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_predictions_are_as_published(gaps, order, ahead):
    step, features, memory = 0, [], None
    for gap, feature in gaps:
        step += gap
        features.append((step, feature))
        memory = remembered(memory, feature, step, order)
    factors, last = public_factors(features, order)
    assert len(memory.terms) == min(order, len(gaps) - 1) + 1
    expected = sum(factor * ahead**i / math.factorial(i) for i, factor in factors.items())
    assert predicted(memory, last + ahead) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_of_order_nothing_the_last_residual_is_added_as_it_is():
    memory = remembered(remembered(None, 3.7, 0, 0), 0.1 + 0.2, 4, 0)
    assert predicted(memory, 9) == 0.1 + 0.2


@pytest.mark.parametrize("order", [1, 2])
def test_lines_and_nothing_else_are_predicted_exactly(order):
    memory = None
    for step in range(0, 12, 3):
        memory = remembered(memory, 2.0 - 0.5 * step, step, order)
    assert predicted(memory, 11) == pytest.approx(2.0 - 0.5 * 11)


# ------------------------------------------------------------------------------------------------------------- in steps


def test_each_expert_begins_anew():
    steps = steps_of("hhhhllll")
    work = skipped_work(steps, CFG, recipe(TaylorSeer(interval=9, protected=1), "high_noise", "low_noise"))
    assert [one.blocks[0] for one in work] == list("cpppcppp")
    ratios = told(steps)
    work = skipped_work(
        steps, CFG, recipe(MagCache(threshold=9, longest=9, protected=0), "high_noise", "low_noise"), ratios
    )
    assert [one.blocks[0] for one in work] == list("crrrcrrr")


def test_the_first_share_of_each_expert_is_protected():
    steps = steps_of("hhhhhlllllllllll"[:15])
    rule = MagCache(threshold=9, longest=99, protected=0.4)
    work = skipped_work(steps, CFG, recipe(rule, "high_noise", "low_noise"), told(steps))
    assert "".join(one.blocks[0] for one in work) == "ccrrrccccrrrrrr"


def test_only_the_experts_of_the_recipe_skip():
    steps = steps_of("hhhhllll")
    work = skipped_work(steps, CFG, recipe(TaylorSeer(protected=1), "low_noise"))
    assert [one.blocks for one in work[:4]] == ["computed"] * 4
    assert {one.blocks for one in work[4:]} == {"computed", "predicted"}


def test_without_calibration_magcache_skips_nothing():
    steps = steps_of()
    assert set(skipped_work(steps, CFG, recipe(MagCache(threshold=9), "low_noise"))) == {COMPUTED}


def test_both_branches_count():
    steps = steps_of("dddd")
    ratios = told(steps)
    ratios["dense", "unconditional"] = {1: 0.5, 2: 1.0, 3: 0.5}
    work = skipped_work(steps, CFG, recipe(MagCache(protected=0), "dense"), ratios)
    assert [one.blocks[0] for one in work] == list("ccrc")
    alone = skipped_work(steps_of("dddd", guidance=1.0), CFG, recipe(MagCache(protected=0, longest=9), "dense"), ratios)
    assert [one.blocks[0] for one in alone] == list("crrr"), "the other branch is not asked"


def test_rows_end_where_what_is_remembered_does_not_count():
    steps = list(steps_of("hhhhhhll"))
    steps[2] = steps[2].model_copy(update={"guidance": 1.0})
    steps[4] = steps[4].model_copy(update={"adapted": False})
    assert rows(steps, CFG) == [[0, 1], [2], [3], [4], [5], [6, 7]]
    assert rows(steps_of("dddd"), GuidanceRule(method="cfg_zero_star", zero_steps=2)) == [[2, 3]]


def test_guidance_is_reused_late():
    work = skipped_work(steps_of("dddddddd"), CFG, recipe(GuidanceReuse(after=0.5, interval=3), "dense"))
    assert "".join(one.difference[0] for one in work) == "ccccckkc"
    assert {one.blocks for one in work} == {"computed"}
    assert set(skipped_work(steps_of(guidance=1.0), CFG, recipe(GuidanceReuse(after=0), "low_noise"))) == {COMPUTED}


def test_with_a_cache_the_difference_is_computed_by_computed_blocks():
    steps = steps_of("d" * 12)
    both = recipe(GuidanceReuse(after=0.5, interval=3), "dense") + recipe(
        MagCache(threshold=9, longest=9, protected=0), "dense"
    )
    work = skipped_work(steps, CFG, both, told(steps))
    assert "".join(one.blocks[0] for one in work) == "crrrrrcrrcrr"
    assert "".join(one.difference[0] for one in work) == "cccccc" + "ckkckk"


@given(
    st.text("hl", min_size=1, max_size=24).map(lambda text: "".join(sorted(text))),
    st.builds(TaylorSeer, interval=st.integers(1, 4), order=st.integers(0, 2), protected=st.integers(1, 4)),
    st.builds(GuidanceReuse, after=st.floats(0, 1), interval=st.integers(1, 4)),
)
def test_whatever_is_asked_for_was_remembered(experts, cache, reuse):
    steps = steps_of(experts)
    uses = recipe(cache, "high_noise", "low_noise") + recipe(reuse, "high_noise", "low_noise")
    work = skipped_work(steps, CFG, uses)
    skips = skips_of(steps, CFG, uses, work)
    residual, difference = {}, False
    for index, one in enumerate(work):
        if skips.starts[index]:
            residual, difference = {}, False
        assert difference or one.difference == "computed"
        asked = BRANCHES[:1] if one.difference == "kept" else BRANCHES
        if one.blocks == "computed":
            residual |= dict.fromkeys(asked, index)
        else:
            assert len({residual[branch] for branch in asked}) == 1, "both are of the same step"
        difference = skips.difference[index]
        residual = residual if skips.residual[index] else {}


def test_a_plan_that_computes_all_remembers_nothing():
    assert skips_of(steps_of(), CFG, (), ()) is None


def test_what_is_remembered_is_no_more_than_what_will_be_used():
    steps = steps_of("dddddd")
    uses = recipe(MagCache(threshold=9, longest=1, protected=0), "dense")
    skips = skips_of(steps, CFG, uses, skipped_work(steps, CFG, uses, told(steps)))
    assert skips.residual == (True, False, True, False, True, False)
    uses = recipe(TaylorSeer(interval=2, protected=1, order=1), "dense")
    skips = skips_of(steps, CFG, uses, skipped_work(steps, CFG, uses))
    assert skips.residual == (True, True, True, True, True, False), "differences need the steps before"
