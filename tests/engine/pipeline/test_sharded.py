"""Experts of which every rank has a part: the same bits as experts that every rank has, in any format, with LoRAs.

Ranks that divide nothing else make what one process makes, bit by bit; others what they make with whole experts.
"""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from tests.engine.pipeline.modes import planned_for
from tests.engine.pipeline.test_residency_modes import lora_of
from tests.engine.processes import on_ranks
from tests.engine.wan_directory import DIT

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.pipeline.render import Run, finish
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.pipeline.store import MemoryStore
from filmgate.engine.pipeline.values import Pictures
from filmgate.engine.runtime.parallel import ONE, Team
from filmgate.engine.runtime.place import repeatable
from filmgate.spec import (
    AccelerationUse,
    EightBit,
    InvalidRequest,
    Layout,
    ResidencyPlan,
    SpeedPlan,
)

CPU = torch.device("cpu")
FORMATS = ("as_computed", "int4")
WAYS = {
    "whole": ResidencyPlan(),
    "sharded": ResidencyPlan(mode="sharded"),
    "one kept": ResidencyPlan(mode="sharded", kept_blocks=1),
}
RANKS = 2


def opened(root, residency, team=ONE, **more):
    return OnDemand(
        describe(root), CPU, "fp32", more.pop("loras", ()), residency, SpeedPlan(profile="exact"), team, **more
    )


@torch.no_grad()
def velocities(networks):
    """Of both experts by turns, the first one with and without its LoRAs, and again."""
    draw = torch.Generator().manual_seed(1)
    x, text = torch.randn(1, 16, 2, 4, 6, generator=draw), torch.randn(2, 5, DIT.text_dim, generator=draw)
    found = []
    for name, adapted in (("high_noise", True), ("high_noise", False), ("low_noise", True), ("high_noise", True)):
        network = networks.transformer(name, adapted=adapted)
        cache = network.text_keys_values(text)
        found.append(network(x, torch.tensor([900.0]), text_cache=cache))
    return found


def frames(networks, planned, team):
    """What a run of several ranks makes."""
    with repeatable(1):
        run = Run(planned, networks, Pictures, MemoryStore(), team)
        return torch.from_numpy(np.concatenate([item for item in finish(run) if isinstance(item, np.ndarray)]))


def everything(root, lora, team):
    warnings.simplefilter("error", FutureWarning)  # a process of its own: whoever watches a run would see them
    apart = Team(layout=Layout(sequence=1), everyone=team.everyone)  # parts of the weights, and nothing else divided
    planned = planned_for(describe(root), steps=2).model_copy(update={"layout": team.layout})
    found = {"held": {}}
    for way, residency in WAYS.items():
        for weights in FORMATS:
            asked = residency.model_copy(update={"weights": weights})
            found["alone", way, weights] = velocities(opened(root, asked, apart))
        found["lora", way] = velocities(opened(root, residency, apart, loras=lora))
        found["together", way] = velocities(opened(root, residency, team))
        found["frames", way] = frames(opened(root, residency, team), planned, team)
        networks = opened(root, residency, apart)
        networks.transformer("high_noise")
        found["held"][way] = sum(item.bytes for item in networks.holdings())
    return {str(key): value for key, value in found.items()}


@pytest.fixture(scope="module")
def lora(wan_pair, tmp_path_factory):
    return lora_of(describe(wan_pair), tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def made(wan_pair, lora):
    return on_ranks(partial(everything, wan_pair, lora), Layout(sequence=RANKS), heads=2)


@pytest.mark.parametrize("way", ["sharded", "one kept"])
def test_parts_of_the_weights_alone_change_no_bit(wan_pair, made, lora, way):
    for weights in FORMATS:
        expected = velocities(opened(wan_pair, ResidencyPlan(weights=weights)))
        for result in made:
            assert all(map(torch.equal, result[str(("alone", way, weights))], expected)), weights
    expected = velocities(opened(wan_pair, ResidencyPlan(), loras=lora))
    assert not torch.equal(expected[0], expected[1]), "the LoRA does something"
    for result in made:
        assert all(map(torch.equal, result[str(("lora", way))], expected))


@pytest.mark.parametrize("way", ["sharded", "one kept"])
def test_with_divided_tokens_they_are_as_whole_ones(wan_pair, made, way):
    for result in made:
        whole, parts = (result[str(("together", one))] for one in ("whole", way))
        assert all(map(torch.equal, parts, whole))
        assert torch.equal(result[str(("frames", way))], result[str(("frames", "whole"))])
    for one, other in zip(velocities(opened(wan_pair, ResidencyPlan())), parts, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)


def test_each_rank_keeps_its_part(wan_pair, made):
    """Of a block that does not stay; two buffers of a block beside it."""
    network = opened(wan_pair, ResidencyPlan()).transformer("high_noise")
    whole = sum(tensor.nbytes for tensor in network.state_dict().values())
    block = sum(tensor.nbytes for tensor in network.blocks[0].state_dict().values())
    outside = whole - DIT.num_layers * block
    for result in made:
        held = result["held"]
        assert held["whole"] == whole
        assert held["sharded"] == pytest.approx(outside + (DIT.num_layers / RANKS + 2) * block, rel=0.1)
        assert held["one kept"] == pytest.approx(outside + (1 + 1 / RANKS + 2) * block, rel=0.1)


def test_products_in_eight_bits_need_weights_that_stay(wan_pair):
    recipe = (AccelerationUse(expert="high_noise", acceleration=EightBit(linear=True)),)
    with pytest.raises(InvalidRequest, match=r"streamed or sharded.*Nearest valid: one-expert"):
        opened(wan_pair, ResidencyPlan(mode="sharded"), recipe=recipe)
