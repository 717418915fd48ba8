"""Tokens in another order and attention by blocks, around whole networks, in one process and in several."""

from dataclasses import replace

import pytest
import torch
from tests.engine.pipeline.networks import random_plan
from tests.engine.pipeline.test_parallel import BOUND, VELOCITIES, WIDE, network_of, prepared, velocity
from tests.engine.processes import on_ranks

from filmgate.engine.kernels.attention import sdpa
from filmgate.engine.kernels.block_choice import ChoiceRule, Geometry, choose_blocks
from filmgate.engine.kernels.token_order import block_places, token_order
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.speed import TRANSFORMER, light_rule, transformer_choices
from filmgate.engine.pipeline.values import Conditioning
from filmgate.engine.runtime import light_attention
from filmgate.engine.runtime.light_attention import LightAttention, LightRule, is_early
from filmgate.engine.runtime.pace import begin_step
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.engine.sampling.step_cache import skipped_work, skips_of
from filmgate.spec import (
    AccelerationUse,
    EightBit,
    GuidanceReuse,
    LatentShape,
    Layout,
    SparseAttention,
    SpeedPlan,
)  # fmt: skip

KINDS = [name for name in VELOCITIES if "ring" not in name]
ALL = LightRule(choice=ChoiceRule(1.0), cell=(2, 2), block=8)
HALF = LightRule(choice=ChoiceRule(0.5, near=2), cell=(2, 2), block=8)


def lightened(rule):
    return prepared(WIDE, Choices(light=rule))


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_of_everything_is_dense_attention(kind, fused):
    """So are orders: whatever is given per token goes along."""
    torch.testing.assert_close(velocity(kind, fused, Choices(light=ALL)), velocity(kind, fused), **BOUND)


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_the_blocks_is_something_else(kind):
    error = relative(velocity(kind, fused=False, choices=Choices(light=HALF)), velocity(kind, fused=False))
    assert 3e-6 < error < 0.3


def test_a_network_takes_one_size_after_another():
    network, again = lightened(ALL), network_of(WIDE)
    for shape in ((3, 6, 10), (1, 4, 4), (3, 6, 10), (2, 8, 6)):
        call = {"x": torch.randn(1, 16, *shape), "timestep": torch.tensor([300.0]), "context": torch.randn(1, 3, 24)}
        with torch.no_grad():
            torch.testing.assert_close(network(**call), again(**call), **BOUND)


def of_a_team(team):
    """Velocities of light attention whose tokens are divided; every rank has some heads of all of them."""
    return {kind: velocity(kind, fused=True, choices=Choices(light=HALF, team=team)) for kind in KINDS}


@pytest.mark.parametrize("layout", [Layout(sequence=2), Layout(cfg=2)], ids=str)
def test_ranks_make_what_one_process_makes(layout):
    alone = {kind: velocity(kind, fused=True, choices=Choices(light=HALF)) for kind in KINDS}
    for found in on_ranks(of_a_team, layout):
        for kind, expected in alone.items():
            torch.testing.assert_close(found[kind], expected, **BOUND)


@pytest.mark.parametrize(("index", "early"), [(0, True), (3, True), (4, False), (19, False)])
def test_early_steps_are_a_share_of_all(index, early):
    assert is_early(index, 20, 0.2) is early
    assert not is_early(index, 20, 0.0)


def test_what_is_light_depends_on_the_step_and_the_layer():
    light = LightAttention(LightRule(
        choice=ChoiceRule(0.5, near=1), dense_steps=0.2, dense_layers=(1,), eight_bit=True, wide_steps=0.5, last_wide=1,
        cell=(2, 2), block=4,
    ))  # fmt: skip
    light.begin_pass((2, 4, 4))
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 32, 2, 16)
    dense, same = sdpa(q, k, v), {}
    for step in range(10):
        light.begin_step(step, 10)
        for layer in (0, 1):
            same[step, layer] = torch.equal(light.attend(layer, sdpa)(q, k, v), dense)
    assert all(same[step, 1] is (step < 5 or step == 9) for step in range(10)), "a dense layer is only ever narrow"
    assert all(same[step, 0] is (step < 2) for step in range(10))


@pytest.mark.parametrize(("refresh", "chosen"), [(1, 24), (2, 12), (3, 8)])
def test_lists_are_kept_for_as_many_steps_as_the_rule_says(monkeypatch, refresh, chosen):
    calls = []

    def counted(*args):
        calls.append(1)
        return choose_blocks(*args)

    monkeypatch.setattr(light_attention, "choose_blocks", counted)
    light = LightAttention(LightRule(choice=ChoiceRule(0.5), refresh=refresh, cell=(2, 2), block=4))
    q, k, v = torch.randn(3, 1, 32, 2, 16)
    light.begin_step(-1, 6)
    for step in range(6):
        light.begin_step(step, 6)
        for _ in ("conditional", "unconditional"):
            light.begin_pass((2, 4, 4))
            for layer in range(2):
                light.attend(layer, sdpa)(q, k, v)
    assert len(calls) == chosen
    light.begin_step(-1, 6)
    light.begin_step(1, 6)
    light.begin_pass((2, 4, 4))
    light.attend(0, sdpa)(q, k, v)
    assert len(calls) == chosen + 1, "another walk takes nothing from this one"


def test_accelerations_say_what_is_light():
    assert light_rule([]) is None
    assert light_rule([GuidanceReuse(), EightBit(attention=False)]) is None
    rule = light_rule(
        [EightBit(protected=0.1, last=2), SparseAttention(budget=0.25, protected=0.3, dense_blocks=(0, 5))]
    )
    assert rule == LightRule(
        choice=ChoiceRule(0.25), dense_steps=0.3, dense_layers=(0, 5), eight_bit=True, wide_steps=0.1, last_wide=2
    )
    assert light_rule([EightBit()]).choice is None
    rule = light_rule([SparseAttention(budget=0.25, per_head=True, radial=0.5, refresh=3)])
    assert rule.choice == ChoiceRule(0.25, per_head=True, radial=0.5)
    assert rule.refresh == 3


def chosen_of(acceleration):
    """What each head and block of queries reads under an acceleration, where heads spread their attention unlike."""
    choice, grid, block = light_rule([acceleration]).choice, (6, 8, 8), 8
    geometry = Geometry.of(block_places(grid, block, token_order(grid, (2, 2))), choice)
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 384, 4, 16)
    q[:, :, 2:] *= 20
    kept = choose_blocks(q, k, geometry, choice, block)
    heads = {}
    for group in kept.groups:
        for place, head in enumerate(range(4) if group.heads is None else group.heads.tolist()):
            heads[head] = group.index[0, place]
    return [heads[head] for head in range(4)]


def test_each_field_of_an_acceleration_changes_what_is_chosen():
    plain = chosen_of(SparseAttention(budget=0.25))
    assert {len(rows[0]) for rows in plain} == {12}
    fewer = chosen_of(SparseAttention(budget=0.125))
    assert {len(rows[0]) for rows in fewer} == {6}
    by_head = [len(rows[0]) for rows in chosen_of(SparseAttention(budget=0.25, per_head=True))]
    assert min(by_head) == 6
    assert max(by_head) == 24
    assert sum(by_head) <= 4 * 12
    by_place = chosen_of(SparseAttention(budget=0.25, radial=4.0))
    assert any(not torch.equal(old, new) for old, new in zip(plain, by_place, strict=True))
    # A block far away in the order of blocks is one far away in time: the place alone reads fewer of those.
    spread = [sum((rows - torch.arange(48)[:, None]).abs().sum() for rows in found) for found in (plain, by_place)]
    assert spread[1] < spread[0]


def test_a_network_without_accelerations_is_left_alone():
    network = network_of(WIDE)
    prepare(network, transformer_choices(network, SpeedPlan()), TRANSFORMER)
    assert all(block.self_attn.attend is sdpa for block in network.blocks)
    assert not network.patch_embedding._forward_hooks
    begin_step(network, 0, 4)


def test_text_is_read_by_dense_attention():
    network = lightened(HALF)
    assert all(block.cross_attn.attend is sdpa for block in network.blocks)
    assert all(block.self_attn.attend is not sdpa for block in network.blocks)


def walked(plan, network, noise):
    torch.manual_seed(5)
    conditioning = Conditioning(text=torch.randn(6, WIDE.text_dim), negative=torch.randn(4, WIDE.text_dim))
    return list(denoise(plan.steps, plan.solver, conditioning, lambda _name: network, noise, batched=False))


def test_a_walk_that_is_resumed_is_the_same_to_the_bit():
    """Lists are chosen in every pass, so that nothing of earlier steps counts but the latent."""
    plan = random_plan(guidance=(4.0, 3.0))
    noise = draw_noise(LatentShape(channels=16, frames=3, height=6, width=10), plan.seed)
    rule = LightRule(
        choice=ChoiceRule(0.5, near=2), dense_steps=0.25, eight_bit=True, wide_steps=0.25, cell=(2, 2), block=8
    )
    whole = walked(plan, lightened(rule), noise)
    rest = walked(plan, lightened(rule), whole[1].walk)
    dense = walked(plan, network_of(WIDE), noise)
    assert torch.equal(whole[-1].latent, rest[-1].latent)
    torch.testing.assert_close(whole[0].latent, dense[0].latent, **BOUND)
    assert 1e-6 < relative(whole[-1].latent, dense[-1].latent) < 0.1


@pytest.mark.parametrize(("refresh", "chosen"), [(1, (4, 4)), (3, (2, 2)), (9, (1, 1))])
def test_lists_never_outlive_the_expert(monkeypatch, refresh, chosen):
    """Eight steps, the second half by the other expert, which here is the same network."""
    plan = random_plan(sigmas=tuple(1 - index / 8 for index in range(9)), boundary=0.55, guidance=(1.0, 1.0))
    experts = [step.expert for step in plan.steps]
    assert experts == ["high_noise"] * 4 + ["low_noise"] * 4
    rule = replace(light_rule([SparseAttention(budget=0.5, protected=0, refresh=refresh)]), cell=(2, 2), block=8)
    steps, network = [], network_of(WIDE)
    light = prepare(network, Choices(light=rule), TRANSFORMER).light

    def noted(*args):
        steps.append(light._step)
        return choose_blocks(*args)

    monkeypatch.setattr(light_attention, "choose_blocks", noted)
    walked(plan, network, draw_noise(LatentShape(channels=16, frames=3, height=6, width=10), plan.seed))
    for half, count in zip((range(4), range(4, 8)), chosen, strict=True):
        found = sorted({step for step in steps if step in half})
        assert len(found) == count
        assert found[0] == half[0], "the first step of an expert chooses for itself"
        assert all(step in (half[0], *range(0, 8, refresh)) for step in found)


def test_lists_of_two_texts_are_not_read_by_one():
    """A step that keeps the difference of guidance makes a pass of one text, between those of two."""
    plan = random_plan(sigmas=tuple(1 - index / 8 for index in range(9)), guidance=(4.0, 3.0))
    sparse, reuse = SparseAttention(budget=0.5, protected=0, refresh=4), GuidanceReuse(after=0.2, interval=2)
    recipe = tuple(
        AccelerationUse(expert=name, acceleration=one)
        for name in ("high_noise", "low_noise") for one in (sparse, reuse)
    )  # fmt: skip
    skips = skips_of(plan.steps, plan.guidance_rule, recipe, skipped_work(plan.steps, plan.guidance_rule, recipe))
    network = network_of(WIDE)
    rule = replace(light_rule([sparse, reuse]), cell=(2, 2), block=8)
    light = prepare(network, Choices(light=rule), TRANSFORMER).light
    torch.manual_seed(5)
    conditioning = Conditioning(text=torch.randn(6, WIDE.text_dim), negative=torch.randn(4, WIDE.text_dim))
    noise = draw_noise(LatentShape(channels=16, frames=3, height=6, width=10), plan.seed)
    found = list(denoise(
        plan.steps, plan.solver, conditioning, lambda _name: network, noise, batched=True, skips=skips
    ))  # fmt: skip
    assert len(found) == 8
    assert all(group.index.shape[0] == texts for (_, _, texts), kept in light._lists.items() for group in kept.groups)
