"""The loop: which expert, how many passes, what is kept and what is let go."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from tests.engine.pipeline.networks import DIT, RandomNetworks, random_plan, tokenise

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.denoise import begin, clock, denoise, draw_noise, hold
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.values import Conditioning
from filmgate.spec import LatentShape, NotFinite


def walk(plan, networks, *, batched=True, conditioning=None):
    conditioning = conditioning or encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    noise = draw_noise(plan.latent, plan.seed)
    return denoise(plan.steps, plan.solver, conditioning, networks.transformer, noise, batched=batched)


@pytest.fixture
def forwards(monkeypatch):
    """(expert's seed-dependent weight, timestep, texts) of every forward pass."""
    seen = []
    original = WanDiT.forward

    def forward(self, x, timestep, context=None, image=None, *, text_cache=None, **control):
        result = original(self, x, timestep, context, image, text_cache=text_cache, **control)
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


def test_a_video_begins_under_the_noise_of_its_level():
    source, noise = torch.randn(16, 3, 4, 6), torch.randn(16, 3, 4, 6)
    assert begin(noise, None, 0.7) is noise
    torch.testing.assert_close(begin(noise, source, 0.7), 0.3 * source + 0.7 * noise)
    assert torch.equal(begin(noise, source, 1.0), noise)


def test_held_frames_are_put_back_and_told_that_they_are_finished():
    x, held = torch.randn(16, 3, 4, 6), torch.randn(16, 1, 4, 6)
    assert torch.equal(hold(x, held), torch.cat([held, x[:, 1:]], 1))
    assert hold(x, None) is x
    assert clock(937.0, x, None).tolist() == [937.0]
    assert clock(937.0, x, held).tolist() == [[0.0] * 6 + [937.0] * 12]


@pytest.mark.parametrize("solver", ["unipc", "euler"])
def test_one_batch_or_two_passes_are_the_same_with_everything_that_can_be_told(solver):
    config = replace(DIT, in_dim=20, out_dim=16, image_dim=8, per_token_timestep=True)
    torch.manual_seed(0)
    network = WanDiT(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    plan = random_plan(solver=solver)
    told = Conditioning(
        text=torch.randn(4, 24), negative=torch.randn(3, 24), image=torch.randn(5, 8), beside=torch.randn(4, 2, 4, 6),
        held=torch.randn(16, 1, 4, 6),
    )  # fmt: skip
    noise = draw_noise(plan.latent, plan.seed)
    together, apart = (
        list(denoise(plan.steps, plan.solver, told, lambda *_, **__: network, noise, batched=batched))
        for batched in (True, False)
    )
    for one, two in zip(together, apart, strict=True):
        torch.testing.assert_close(one.latent, two.latent, atol=1e-5, rtol=1e-5)
        assert torch.equal(one.latent[:, :1], told.held)
        assert torch.equal(one.clean[:, :1], told.held)
    for left_out in ("image", "beside", "held"):
        if left_out == "held":
            other = replace(told, held=None)
        else:
            other = replace(told, **{left_out: torch.zeros_like(getattr(told, left_out))})
        last = list(denoise(plan.steps, plan.solver, other, lambda *_, **__: network, noise, batched=True))[-1]
        assert not torch.allclose(last.latent[:, 1:], together[-1].latent[:, 1:], atol=1e-2), left_out


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpmpp_2m", "res_multistep"])
@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_ends_the_walk_and_names_its_expert(solver, damage):
    networks = RandomNetworks()
    original = networks.transformer

    def transformer(name):
        network = original(name)
        if name == "low_noise":
            network.head.head.bias.data[0] = damage
        return network

    networks.transformer = transformer
    states = walk(random_plan(solver=solver), networks)
    assert [next(states).index, next(states).index] == [0, 1]
    with pytest.raises(NotFinite, match=r"step 3 of 4, by the low_noise expert, .*weights or a LoRA .* precision"):
        next(states)
