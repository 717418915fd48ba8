"""Methods of guidance and few-step schedules in the loop: passes are counted, results compared with plain formulas."""

import dataclasses

import pytest
import torch
from tests.engine.pipeline.networks import RandomNetworks, random_plan, tokenise

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.attention_guidance import guided_attention
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.render import render
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.steering import nag
from filmgate.spec import GuidanceRule

HIGH, LOW = "high_noise", "low_noise"


class Adaptable(RandomNetworks):
    """Writes down which experts are asked for, and with which of their two kinds of weights."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def transformer(self, name, *, adapted=True):
        self.asked.append((name, adapted))
        return super().transformer(name)


@pytest.fixture
def texts(monkeypatch):
    """How many texts each forward pass painted."""
    seen = []
    original = WanDiT.forward

    def forward(self, x, *args, **options):
        result = original(self, x, *args, **options)
        seen.append(len(result))
        return result

    monkeypatch.setattr(WanDiT, "forward", forward)
    return seen


def walk(plan, networks=None, *, batched=True, seed=None):
    networks = networks or Adaptable()
    negative = plan.negative if plan.reads_negative else None
    conditioning = encode(plan.prompt, negative, tokenise, networks.text_encoder())
    noise = draw_noise(plan.latent, plan.seed) * plan.noise_scale
    fresh = fresh_noise(noise, plan.seed if seed is None else seed)
    states = denoise(
        plan.steps, plan.solver, conditioning, networks.transformer, noise,
        batched=batched, rule=plan.guidance_rule, fresh=fresh,
    )  # fmt: skip
    return [state.latent for state in states]


def plan_with(method="cfg", **changes):
    rule = GuidanceRule(method=method, **changes.pop("rule", {}))
    return random_plan(solver="euler", guidance_rule=rule, **changes)


def changed(plan, index, **changes):
    steps = [step.model_copy(update=changes if step.index == index else {}) for step in plan.steps]
    return plan.model_copy(update={"steps": tuple(steps)})


def test_guidance_of_one_expert_costs_a_second_pass_there_only(texts):
    walk(plan_with(guidance=(3.5, 1.0)), batched=False)
    assert texts == [1] * 4 + [1] * 2, "two steps of two passes, two of one"
    texts.clear()
    walk(plan_with(guidance=(1.0, 3.0)))
    assert texts == [1, 1, 2, 2]


def test_cfg_zero_star_asks_nothing_while_it_stands_still(texts):
    plan = plan_with("cfg_zero_star", rule={"zero_steps": 1})
    latents = walk(plan, batched=False)
    assert texts == [1] * 2 * 3
    torch.testing.assert_close(latents[0], draw_noise(plan.latent, plan.seed), msg="it moved")
    texts.clear()
    walk(plan_with("cfg_zero_star", rule={"zero_steps": 3}), batched=False)
    assert texts == [1] * 2, "an expert that paints no step is not asked for"


def by_hand(plan, formula):
    """Euler's walk with a velocity made of both, and what ``formula`` remembers kept per expert."""
    networks, x, kept = Adaptable(), draw_noise(plan.latent, plan.seed), {}
    conditioning = encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    for step in plan.steps:
        network = networks.transformer(step.expert)
        with torch.no_grad():
            c, u = (
                network(x[None], torch.tensor([step.timestep]), text[None])[0]
                for text in (conditioning.text, conditioning.negative)
            )
        v, kept[step.expert] = formula(c, u, step, x, kept.get(step.expert))
        x = x + (step.sigma_next - step.sigma) * v
    return x


def zero_star(c, u, step, x, _):
    if step.index == 0:
        return torch.zeros_like(x), None
    s = (c * u).sum() / (u * u).sum()
    return s * u + step.guidance * (c - s * u), None


def projected(c, u, step, x, average):
    """APG's algorithm on guesses of the video, as the paper lists it, with eta 0 and momentum -0.5."""
    guess_c, guess_u = x - step.sigma * c, x - step.sigma * u
    average = guess_c - guess_u - 0.5 * (0 if average is None else average)
    along = guess_c / guess_c.norm()
    update = average - (average * along).sum() * along
    return (x - (guess_c + (step.guidance - 1) * update)) / step.sigma, average


@pytest.mark.parametrize(("method", "formula"), [("cfg_zero_star", zero_star), ("apg", projected)])
@pytest.mark.parametrize("batched", [True, False])
def test_a_walk_is_that_of_the_formula(method, formula, batched):
    plan = plan_with(method)
    torch.testing.assert_close(walk(plan, batched=batched)[-1], by_hand(plan, formula), atol=2e-4, rtol=1e-4)
    assert not torch.allclose(walk(plan)[-1], walk(plan_with())[-1], atol=1e-3)


def test_nag_is_one_pass_and_the_formula_in_every_cross_attention(texts):
    plan = plan_with("nag", guidance=(1.0, 1.0), sigmas=(1.0, 0.9, 0.0))
    latent = walk(plan)[0]
    assert texts == [1, 1]
    networks = Adaptable()
    conditioning = encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    network, noise = networks.transformer(HIGH), draw_noise(plan.latent, plan.seed)
    for block in network.blocks:
        attend, attention = block.cross_attn.attend, block.cross_attn

        def forward(x, cache, attention=attention, attend=attend):
            q = attention.norm_q(attention.q(x)).unflatten(-1, attention.heads)
            read = [attend(q, k, v) for k, v in cache]
            return attention.o(nag(*read, scale=11.0, tau=2.5, alpha=0.25).flatten(-2))

        attention.forward = forward
    with torch.no_grad():
        caches = [network.text_keys_values(text[None]) for text in (conditioning.text, conditioning.negative)]
        both = [(positive[0], negative[0]) for positive, negative in zip(*caches, strict=True)]
        v = network(noise[None], torch.tensor([plan.steps[0].timestep]), text_cache=both)[0]
    step = plan.steps[0]
    torch.testing.assert_close(latent, noise + (step.sigma_next - step.sigma) * v, atol=1e-5, rtol=1e-5)


def test_nag_of_equal_texts_changes_nothing():
    plan = plan_with("nag", guidance=(1.0, 1.0), negative="a red ball rolls")
    alone = plan_with(guidance=(1.0, 1.0), negative="a red ball rolls")
    for one, other in zip(walk(plan), walk(alone), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)
    away = plan_with("nag", guidance=(1.0, 1.0), negative="a blue cube")
    assert not torch.allclose(walk(away)[-1], walk(alone)[-1], atol=1e-3)


def test_the_attention_is_given_back_even_after_an_error():
    network = Adaptable().transformer(HIGH)
    before = [block.cross_attn.attend for block in network.blocks]
    with pytest.raises(RuntimeError), guided_attention(network, GuidanceRule()):
        raise RuntimeError
    assert [block.cross_attn.attend for block in network.blocks] == before


def test_steps_without_loras_are_painted_by_the_plain_weights():
    plan = changed(plan_with(), 0, adapted=False)
    networks = Adaptable()
    walk(plan, networks)
    assert networks.asked == [(HIGH, False), (HIGH, True), (LOW, True)]


@pytest.mark.parametrize("solver", ["lcm", "euler_ancestral"])
def test_solvers_with_noise_depend_on_the_seed_of_the_noise(solver):
    plan = plan_with().model_copy(update={"solver": solver})
    one, again, other = walk(plan), walk(plan), walk(plan, seed=8)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.allclose(one[-1], other[-1], atol=1e-3)


def test_a_scaled_start_is_the_noise_times_its_factor():
    plan = plan_with(noise_scale=0.5)
    noise = draw_noise(plan.latent, plan.seed)
    first = plan.steps[0]
    halved = walk(plan.model_copy(update={"steps": (first,)}))[0]
    networks = Adaptable()
    conditioning = encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    states = denoise((first,), "euler", conditioning, networks.transformer, noise * 0.5, batched=True)
    assert torch.equal(halved, next(states).latent)


@pytest.mark.parametrize("method", ["cfg_zero_star", "apg"])
def test_frames_that_are_held_are_not_measured(method, monkeypatch):
    """Two networks that differ in what they say of a held frame lead to the same video."""
    plan = plan_with(method, sigmas=(1.0, 0.9, 0.8), rule={"zero_steps": 0})
    networks = Adaptable()
    conditioning = encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    held = torch.ones(16, 1, plan.latent.height, plan.latent.width)
    conditioning = dataclasses.replace(conditioning, held=held)

    class Network:
        config = networks.transformer(HIGH).config

        def __init__(self, of_the_held):
            self.of_the_held = of_the_held

        def modules(self):
            return iter(())

        def fold_text(self, context):
            return context

        def __call__(self, x, _, *, text_cache, **__):
            v = torch.cat([torch.sin(x * (index + 1)) for index in range(len(text_cache))])
            v[:, :, :1] = self.of_the_held * torch.arange(1, len(v) + 1).view(-1, 1, 1, 1, 1)
            return v

    def walked(network):
        noise = draw_noise(plan.latent, plan.seed)
        states = denoise(
            plan.steps, "euler", conditioning, lambda _: network, noise, batched=True, rule=plan.guidance_rule
        )
        return [state.latent for state in states]

    one, other = walked(Network(0.5)), walked(Network(-300.0))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(one[-1][:, :1], held)


@pytest.mark.parametrize(("method", "solver"), [("nag", "lcm"), ("apg", "unipc"), ("cfg_zero_star", "res_multistep")])
def test_the_whole_way_to_frames(method, solver):
    guidance = (1.0, 1.0) if method == "nag" else (3.5, 3.0)
    plan = plan_with(method, guidance=guidance, noise_scale=0.9).model_copy(update={"solver": solver})
    frames = [item for item in render(plan, Adaptable()) if not hasattr(item, "kind")]
    assert sum(len(chunk) for chunk in frames) == plan.video.frames
    latent = walk(plan)[-1]
    vae = Adaptable().vae()
    with torch.no_grad():
        pixels = vae.decode_sequence(vae.denormalise(latent[None]))[0]
    expected = ((pixels.clamp(-1, 1) + 1) / 2 * 255).round().byte().permute(1, 2, 3, 0).numpy()
    assert abs(frames[0][0].astype(int) - expected[0].astype(int)).max() <= 1
