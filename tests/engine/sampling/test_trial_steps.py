"""What a trial costs, counted by hand."""

import pytest
from tests.takes import make_plan

from filmgate.engine.sampling.trial_steps import beside_passes, compared, first_skipped, own_passes, recipe_passes
from filmgate.spec import AccelerationPlan, AccelerationUse, EightBit, StepWork

KEPT, REUSED = StepWork(difference="kept"), StepWork(blocks="reused")


def with_work(*work):
    plan = make_plan()
    assert {step.passes for step in plan.steps} == {2}
    whole = (*work, *[StepWork()] * (len(plan.steps) - len(work)))
    return plan.model_copy(update={"acceleration": AccelerationPlan(work=whole)})


def test_a_recipe_that_skips_is_walked_from_its_first_skipped_step():
    plan = with_work(StepWork(), KEPT, REUSED)
    rest = len(plan.steps) - 3
    assert first_skipped(plan) == 1
    assert [beside_passes(plan, index) for index in range(3)] == [0, 1, 0]
    assert own_passes(plan) == 1 + 0 + 2 * rest
    assert recipe_passes(plan) == 2 + 2 * rest
    assert first_skipped(with_work()) == len(plan.steps)
    assert recipe_passes(with_work()) == 0


@pytest.mark.parametrize("protected", [0.0, 0.5])
def test_a_lighter_recipe_is_walked_whole_and_some_of_its_steps_are_compared(protected):
    plan = make_plan()
    names = dict.fromkeys(step.expert for step in plan.steps)
    uses = tuple(AccelerationUse(expert=name, acceleration=EightBit(protected=protected)) for name in names)
    made = plan.model_copy(update={"acceleration": AccelerationPlan(recipe=uses)})
    assert compared(made)[0] == round(protected * len(plan.steps))
    assert recipe_passes(made) == 2 * len(plan.steps) + 2 * len(compared(made))
    assert not any(beside_passes(made, index) for index in range(len(plan.steps)))
