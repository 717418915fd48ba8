"""Ranks that divide tokens and texts make what one process makes.

The bound: fp32, 1e-5 absolute and relative, for one velocity as for a walk of four steps. Sums run over the same
numbers in the same order except inside ring attention and where a batch of two texts becomes two of one.
"""

from dataclasses import replace
from functools import cache

import pytest
import torch
from tests.engine.pipeline.networks import DIT, random_plan
from tests.engine.processes import on_ranks

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.speed import TRANSFORMER
from filmgate.engine.pipeline.values import Conditioning
from filmgate.engine.runtime.parallel import parts
from filmgate.engine.runtime.prepare import NOTHING, Choices, prepare
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.step_cache import skipped_work, skips_of
from filmgate.spec import AccelerationUse, GuidanceRule, InvalidRequest, LatentShape, Layout, TaylorSeer

BOUND = {"atol": 1e-5, "rtol": 1e-5}
WIDE = replace(DIT, dim=64, num_heads=4)
"""Four heads of sixteen."""
ODD = replace(DIT, dim=48, num_heads=3)
"""Heads that neither two nor four ranks can divide."""
SIX = replace(DIT, dim=96, num_heads=6)
"""Heads that four ranks divide by two."""
SHAPE = (3, 6, 10)
"""45 tokens: an odd number, so that parts are of unequal length."""

VELOCITIES = {
    "text": (WIDE, {}),
    "short text folded": (WIDE, {"folded": True}),
    "picture": (replace(WIDE, in_dim=36, image_dim=20), {}),
    "per token": (replace(WIDE, per_token_timestep=True), {"clock": True}),
    "vace": (replace(WIDE, vace_layers=(0, 1)), {"control": 96}),
    "camera": (replace(WIDE, camera_scale=8, camera_blocks=1), {"control": 24}),
    "ring": (ODD, {}),
    "heads and ring": (SIX, {}),
    "ring, per token": (replace(ODD, per_token_timestep=True), {"clock": True}),
    "ring, vace": (replace(ODD, vace_layers=(0, 1)), {"control": 96}),
}
"""Configuration and what is peculiar."""
WALKS = {
    "cfg": {},
    "unipc": {"solver": "unipc"},
    "zero star": {"method": "cfg_zero_star"},
    "apg": {"method": "apg"},
    "held": {"held": True},
    "one pass": {"guidance": (1.0, 1.0)},
    "every other step predicted": {"solver": "unipc", "skip": TaylorSeer(interval=2, order=1, protected=1)},
    "one pass, predicted": {"guidance": (1.0, 1.0), "skip": TaylorSeer(interval=2, order=0, protected=1)},
}
EXPERTS = ("high_noise", "low_noise")
LAYOUTS = [Layout(sequence=2), Layout(cfg=2), Layout(sequence=4), Layout(cfg=2, sequence=2)]


def network_of(config):
    torch.manual_seed(3)
    network = WanDiT(config).requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.15)
    return network


def prepared(config, choices):
    network = network_of(config)
    prepare(network, choices, TRANSFORMER)
    return network


@torch.no_grad()
def velocity(name, fused, choices=NOTHING):
    config, more = VELOCITIES[name]
    network = prepared(config, replace(choices, forward=fused_block if fused else None))
    torch.manual_seed(4)
    x = torch.randn(1, config.in_dim, *SHAPE)
    tokens = SHAPE[0] * SHAPE[1] * SHAPE[2] // 4
    timestep = torch.tensor([700.0])
    if more.get("clock"):
        timestep = torch.where(torch.arange(tokens) < tokens // 3, 0.0, 700.0)[None]
    context = torch.randn(2, 6, config.text_dim)
    image = None if config.image_dim is None else torch.randn(2, 5, config.image_dim)
    cache = network.fold_text(context) if more.get("folded") else network.text_keys_values(context, image)
    channels, scale = more.get("control"), config.camera_scale or 1
    control = None
    if channels:
        control = torch.randn(1, channels, SHAPE[0], SHAPE[1] * scale, SHAPE[2] * scale)
    return network(x, timestep, text_cache=cache, control=control)


def trajectory(name, choices=NOTHING):
    more = WALKS[name]
    config = replace(WIDE, per_token_timestep=bool(more.get("held")))
    plan = random_plan(solver=more.get("solver", "euler"), guidance=more.get("guidance", (4.0, 3.0)))
    torch.manual_seed(5)
    conditioning = Conditioning(
        text=torch.randn(6, config.text_dim), negative=torch.randn(4, config.text_dim),
        held=torch.randn(16, 1, 6, 10) if more.get("held") else None,
    )  # fmt: skip
    noise = draw_noise(LatentShape(channels=16, frames=3, height=6, width=10), plan.seed)
    network = prepared(config, choices)
    rule = GuidanceRule(method=more.get("method", "cfg"))
    recipe = (
        tuple(AccelerationUse(expert=name, acceleration=more["skip"]) for name in EXPERTS) if "skip" in more else ()
    )
    work = skipped_work(plan.steps, rule, recipe) if recipe else ()
    walk = denoise(
        plan.steps, plan.solver, conditioning, lambda _name: network, noise, batched=True, rule=rule,
        fresh=fresh_noise(noise, plan.seed), skips=skips_of(plan.steps, rule, recipe, work),
    )  # fmt: skip
    return [state.latent for state in walk]


def tokens_seen(choices):
    """How many tokens the feed-forward network of the first block works on."""
    seen = []
    network = prepared(WIDE, choices)
    network.blocks[0].ffn.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[:2]))
    with torch.no_grad():
        cache = network.text_keys_values(torch.randn(2, 6, WIDE.text_dim))
        network(torch.randn(1, 16, *SHAPE), torch.tensor([700.0]), text_cache=cache)
    return torch.tensor(seen[0])


def everything(team, heads=None):
    """Of the cases whose heads the team was made for."""
    choices = Choices(team=team)
    found = {
        (name, fused): velocity(name, fused, choices)
        for name, (config, _) in VELOCITIES.items()
        if config.num_heads == heads
        for fused in (False, True)
    }
    if heads == WIDE.num_heads:
        found["tokens of a block"] = tokens_seen(choices)
        found |= {(name, "walk"): trajectory(name, choices) for name in WALKS}
    return {str(key): value for key, value in found.items()}


def every_team(team):
    """One after the other, the teams that each number of heads needs."""
    found = {}
    for config in (WIDE, ODD, SIX):
        of_heads = type(team).formed(team.layout, config.num_heads, team.rank)
        found |= everything(of_heads, config.num_heads)
    return found


@cache
def made(layout):
    return on_ranks(every_team, layout)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("name", VELOCITIES)
def test_velocity(name, fused, layout):
    expected = velocity(name, fused)
    assert expected.shape[0] == 2
    for result in made(layout):
        torch.testing.assert_close(result[str((name, fused))], expected, **BOUND)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", WALKS)
def test_walk(name, layout):
    expected = trajectory(name)
    assert len(expected) == 4
    for result in made(layout):
        for one, other in zip(result[str((name, "walk"))], expected, strict=True):
            torch.testing.assert_close(one, other, **BOUND)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_all_ranks_hold_the_same_bits(layout):
    first, *others = map(dict, made(layout))
    first.pop("tokens of a block")
    for key, value in first.items():
        values = value if isinstance(value, list) else [value]
        for other in others:
            theirs = other[key] if isinstance(value, list) else [other[key]]
            assert all(torch.equal(a, b) for a, b in zip(values, theirs, strict=True)), key


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_work_is_divided(layout):
    seen = [result["tokens of a block"].tolist() for result in made(layout)]
    texts = 2 // layout.cfg
    assert seen == [[texts, count] for _ in range(layout.cfg) for count in parts(45, layout.sequence)]


def test_parts_are_even_and_nobody_is_left_without():
    assert parts(45, 4) == [12, 11, 11, 11]
    assert parts(4, 4) == [1, 1, 1, 1]
    with pytest.raises(InvalidRequest, match="3 tokens or rows cannot be divided by 4"):
        parts(3, 4)
