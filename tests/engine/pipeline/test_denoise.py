"""The loop: which expert, how many passes, what is kept and what is let go."""

import gc
import weakref

import pytest
import torch
from tests.engine.pipeline.networks import DIT, RandomNetworks, random_plan, tokenise

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.spec import LatentShape


def walk(plan, networks, *, batched=True, conditioning=None):
    conditioning = conditioning or encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    noise = draw_noise(plan.latent, plan.seed)
    return denoise(plan.steps, plan.solver, conditioning, networks.transformer, noise, batched=batched)


@pytest.fixture
def forwards(monkeypatch):
    """(expert's seed-dependent weight, timestep, texts) of every forward pass."""
    seen = []
    original = WanDiT.forward

    def forward(self, x, timestep, context=None, image=None, *, text_cache=None):
        result = original(self, x, timestep, context, image, text_cache=text_cache)
        seen.append((id(self), timestep.tolist(), len(result)))
        return result

    monkeypatch.setattr(WanDiT, "forward", forward)
    return seen


def test_noise_is_the_cpus_and_has_no_batch():
    noise = draw_noise(LatentShape(channels=16, frames=3, height=4, width=6), seed=11)
    expected = torch.randn(16, 3, 4, 6, generator=torch.Generator("cpu").manual_seed(11), dtype=torch.float32)
    assert torch.equal(noise, expected)
    state = torch.random.get_rng_state()
    draw_noise(LatentShape(channels=16, frames=3, height=4, width=6), seed=12)
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's numbers change"


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpmpp_2m"])
def test_one_batch_or_two_passes_are_the_same(solver):
    plan = random_plan(solver=solver)
    together, apart = (
        [state.latent for state in walk(plan, RandomNetworks(), batched=batched)] for batched in (True, False)
    )
    assert len(together) == len(plan.steps)
    for one, two in zip(together, apart, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_each_step_is_painted_by_its_expert_at_its_timestep(forwards):
    plan, networks = random_plan(), RandomNetworks()
    kept = {}
    original = networks.transformer

    def transformer(name):
        kept[name] = original(name)
        return kept[name]

    networks.transformer = transformer
    list(walk(plan, networks))
    names = {id(network): name for name, network in kept.items()}
    assert [(names[network], timestep) for network, timestep, _ in forwards] == [
        (step.expert, [step.timestep]) for step in plan.steps
    ]
    assert [step.expert for step in plan.steps] == ["high_noise"] * 2 + ["low_noise"] * 2
    assert networks.log == ["+text_encoder", "+high_noise", "-high_noise", "+low_noise"]


def test_guidance_one_is_a_single_pass(forwards):
    plan = random_plan(guidance=(1.0, 3.0))
    list(walk(plan, RandomNetworks()))
    assert [texts for *_, texts in forwards] == [1, 1, 2, 2]
    forwards.clear()
    list(walk(plan, RandomNetworks(), batched=False))
    assert [texts for *_, texts in forwards] == [1] * 2 + [1] * 4


def test_without_guidance_the_negative_prompt_does_not_matter():
    plan, networks = random_plan(guidance=(1.0, 1.0)), RandomNetworks()
    alone = encode(plan.prompt, None, tokenise, networks.text_encoder())
    without = list(walk(plan, networks, conditioning=alone))[-1].latent
    torch.testing.assert_close(without, list(walk(plan, RandomNetworks()))[-1].latent, atol=1e-6, rtol=0)


def test_text_is_projected_once_per_expert(monkeypatch):
    calls = []
    original = WanDiT.embed_text
    monkeypatch.setattr(WanDiT, "embed_text", lambda self, x: calls.append(len(x)) or original(self, x))
    list(walk(random_plan(), RandomNetworks()))
    assert len(calls) == 2 * 2, "per expert: the prompt alone, and both"


def test_clean_is_the_networks_guess_of_the_end():
    plan = random_plan(solver="euler")
    states = list(walk(plan, RandomNetworks()))
    torch.testing.assert_close(states[-1].clean, states[-1].latent, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(states[0].clean, states[0].latent, atol=1e-2)
    first, last = draw_noise(plan.latent, plan.seed), plan.steps[0]
    velocity = (states[0].latent - first) / (last.sigma_next - last.sigma)
    torch.testing.assert_close(states[0].clean, first - last.sigma * velocity, atol=1e-3, rtol=1e-4)


def test_an_expert_is_let_go_before_the_next_is_asked_for():
    plan, networks = random_plan(), RandomNetworks()
    states = walk(plan, networks)
    first = None
    for _ in range(2):
        next(states)
        first = first or weakref.ref(networks.held["high_noise"])
    networks.release("high_noise")
    gc.collect()
    assert first() is None
    assert len(list(states)) == 2


def test_nothing_happens_before_it_is_asked_for_or_after_it_is_closed(forwards):
    states = walk(random_plan(), RandomNetworks())
    assert forwards == []
    next(states)
    states.close()
    assert len(forwards) == 1


def test_grad_mode_is_left_alone():
    states = walk(random_plan(), RandomNetworks())
    state = next(states)
    assert torch.is_grad_enabled()
    assert not state.latent.requires_grad
    assert state.latent.dtype == torch.float32
    assert state.latent.shape[0] == DIT.out_dim
