"""Skipped work in the loop: nothing skipped is nothing changed; what is skipped is what stands in; every boundary."""

import numpy as np
import pytest
import torch
from tests.engine.pipeline.networks import RandomNetworks, random_plan, tokenise
from tests.engine.pipeline.test_resume import SIGMAS, frames_of, stop_after, store

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.dit_layers import Block
from filmgate.engine.pipeline.batch import walk_all
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.render import Run, finish, render
from filmgate.engine.pipeline.store import MemoryStore
from filmgate.engine.sampling.step_cache import skipped_work, skips_of
from filmgate.spec import (
    AccelerationPlan,
    AccelerationUse,
    GuidanceReuse,
    GuidanceRule,
    MagCache,
    Progress,
    StepWork,
    TaylorSeer,
)

LONG = tuple(1 - index / 10 for index in range(11))
EXPERTS = ("high_noise", "low_noise")
MAG = MagCache(threshold=9, longest=2, protected=0)
TAYLOR = TaylorSeer(interval=3, order=1, protected=2)
REUSE = GuidanceReuse(after=0.3, interval=2)


def skipping(plan, *accelerations):
    recipe = tuple(AccelerationUse(expert=e, acceleration=one) for e in EXPERTS for one in accelerations)
    ratios = {(e, b): dict.fromkeys(range(99), 1.0) for e in EXPERTS for b in ("conditional", "unconditional")}
    work = skipped_work(plan.steps, plan.guidance_rule, recipe, ratios)
    return plan.model_copy(update={"acceleration": AccelerationPlan(profile="fast", recipe=recipe, work=work)})


def plan_of(*accelerations, **changes):
    plan = random_plan(**{"sigmas": LONG, "solver": "unipc", "boundary": 0.55, **changes})
    return skipping(plan, *accelerations) if accelerations else plan


def latents(plan, networks=None, *, batched=True):
    networks = networks or RandomNetworks()
    conditioning = encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    skips = skips_of(plan.steps, plan.guidance_rule, plan.acceleration.recipe, plan.acceleration.work)
    noise = draw_noise(plan.latent, plan.seed)
    walk = denoise(
        plan.steps, plan.solver, conditioning, networks.transformer, noise, batched=batched, rule=plan.guidance_rule,
        skips=skips,
    )  # fmt: skip
    return [state.latent for state in walk]


@pytest.fixture
def blocks(monkeypatch):
    """How many texts each block's call worked for, and how many passes there were."""
    seen = {"blocks": 0, "passes": 0}
    block, whole = Block.forward, WanDiT.forward

    def counted(self, x, *args):
        result = block(self, x, *args)
        seen["blocks"] += len(result)
        return result

    def passed(self, *args, **options):
        seen["passes"] += 1
        return whole(self, *args, **options)

    monkeypatch.setattr(Block, "forward", counted)
    monkeypatch.setattr(WanDiT, "forward", passed)
    return seen


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    "accelerations",
    [
        (MagCache(threshold=0.0),), (TaylorSeer(interval=1),), (GuidanceReuse(after=0.0, interval=1),),
        (MagCache(threshold=0.0), GuidanceReuse(interval=1)),
    ],
)  # fmt: skip
def test_nothing_skipped_is_bit_identical_to_off(accelerations, batched):
    plan = plan_of(*accelerations)
    assert set(plan.acceleration.work) == {StepWork()}
    for one, two in zip(latents(plan, batched=batched), latents(plan_of(), batched=batched), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("accelerations", [(MAG,), (TAYLOR,), (REUSE,), (MAG, REUSE), (TAYLOR, REUSE)])
def test_blocks_work_as_often_as_the_plan_says(blocks, accelerations, batched):
    plan = plan_of(*accelerations)
    latents(plan, batched=batched)
    counts = plan.pass_counts
    assert counts.computed < counts.total == 20
    assert blocks["blocks"] == 2 * counts.computed, "two blocks"
    if not batched:
        assert blocks["passes"] == counts.total - counts.kept


@pytest.mark.parametrize("accelerations", [(MAG,), (TAYLOR,), (REUSE,), (MAG, REUSE), (TAYLOR, REUSE)])
@pytest.mark.parametrize("method", ["cfg", "apg", "cfg_zero_star"])
def test_one_batch_or_two_passes_are_the_same(accelerations, method):
    plan = plan_of(guidance_rule=GuidanceRule(method=method))
    plan = skipping(plan, *accelerations)
    for one, two in zip(latents(plan, batched=True), latents(plan, batched=False), strict=True):
        torch.testing.assert_close(one, two, atol=2e-5, rtol=2e-5)


@torch.no_grad()
def test_a_reused_step_is_the_head_on_the_old_residual():
    """Written out: embedded tokens of the new latent, what the blocks added at the step before, and the head."""
    plan = plan_of(MAG, guidance=(1.0, 1.0), solver="euler", sigmas=(*LONG[:4], 0.0))
    assert [one.blocks[0] for one in plan.acceleration.work[:3]] == list("crr")
    networks = RandomNetworks()
    got = latents(plan, networks)
    network = networks.transformer("high_noise")
    text = encode(plan.prompt, None, tokenise, networks.text_encoder()).text[None]
    x, residual = draw_noise(plan.latent, plan.seed)[None], None
    for step, work, found in list(zip(plan.steps, plan.acceleration.work, got, strict=True))[:3]:
        e, _, _ = network.embed_timestep(torch.tensor([step.timestep]))
        tokens = network.patch_embedding(x).float()
        if work.blocks == "computed":
            seen = []
            whole = network.head.forward
            network.head.forward = lambda t, *rest, whole=whole, seen=seen: seen.append(t) or whole(t, *rest)
            network(x, torch.tensor([step.timestep]), text)
            network.head.forward = whole
            residual = seen[0] - tokens
        grid = (x.shape[2], x.shape[3] // 2, x.shape[4] // 2)
        from filmgate.engine.models.dit_layers import unpatchify

        velocity = unpatchify(network.head(tokens + residual, e, None), grid)
        x = x + (step.sigma_next - step.sigma) * velocity
        torch.testing.assert_close(found, x[0], atol=1e-4, rtol=1e-4)


def test_nothing_passes_the_change_of_experts():
    """The low-noise expert's steps are the same whatever the high-noise expert remembered."""
    plan = plan_of(TAYLOR)
    switch = plan.steps_of("high_noise")
    assert plan.acceleration.work[switch].blocks == "computed"
    networks = RandomNetworks()
    conditioning = encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    skips = skips_of(plan.steps, plan.guidance_rule, plan.acceleration.recipe, plan.acceleration.work)
    walks = [
        state.walk
        for state in denoise(
            plan.steps, plan.solver, conditioning, networks.transformer, draw_noise(plan.latent, 1), batched=True,
            skips=skips,
        )
    ]  # fmt: skip
    assert walks[switch - 3].residuals
    assert not walks[switch - 1].residuals
    assert walks[switch].residuals["conditional"].step == switch
    assert len(walks[switch].residuals["conditional"].terms) == 1
    assert not walks[-1].residuals, "nothing is kept after the last step"


def test_branches_do_not_leak():
    """The prompt's residual does not depend on the negative prompt, and the other way round."""

    def residuals(prompt, negative):
        plan = plan_of(MAG, prompt=prompt, negative=negative)
        networks = RandomNetworks()
        told = encode(prompt, negative, tokenise, networks.text_encoder())
        skips = skips_of(plan.steps, plan.guidance_rule, plan.acceleration.recipe, plan.acceleration.work)
        walk = denoise(
            plan.steps, plan.solver, told, networks.transformer, draw_noise(plan.latent, 1), batched=False, skips=skips
        )
        return {branch: kept.terms[0] for branch, kept in next(walk).walk.residuals.items()}

    one, two, three = residuals("a red ball", "blur"), residuals("a red ball", "noise"), residuals("a big cube", "blur")
    assert torch.equal(one["conditional"], two["conditional"])
    assert not torch.equal(one["unconditional"], two["unconditional"])
    assert torch.equal(one["unconditional"], three["unconditional"])
    assert not torch.equal(one["conditional"], three["conditional"])


@pytest.mark.parametrize("done", range(1, 10))
@pytest.mark.parametrize("accelerations", [(MAG,), (TAYLOR,), (MAG, REUSE), (TAYLOR, REUSE)])
def test_a_kill_after_any_step_changes_nothing(tmp_path, accelerations, done):
    plan = plan_of(*accelerations)
    expected = frames_of(render(plan, RandomNetworks()))
    stop_after(render(plan, RandomNetworks(), store=store(tmp_path, plan)), "denoise", done)
    assert np.array_equal(frames_of(render(plan, RandomNetworks(), store=store(tmp_path, plan))), expected)


@pytest.mark.parametrize("part", ["residual-conditional-0", "residual-unconditional-1", "difference"])
def test_every_part_of_what_is_remembered_matters(tmp_path, part, monkeypatch):
    from filmgate.engine.pipeline import store as module

    # A step before one that predicts, or that keeps the difference.
    plan = plan_of(REUSE) if part == "difference" else plan_of(TAYLOR, sigmas=LONG)
    work, steps = plan.acceleration.work, plan.steps
    done = next(
        index for index in range(3, len(work))
        if (work[index].difference == "kept" if part == "difference" else work[index].blocks == "predicted")
        and steps[index].expert == steps[index - 1].expert
    )  # fmt: skip
    expected = frames_of(render(plan, RandomNetworks()))
    stop_after(render(plan, RandomNetworks(), store=store(tmp_path, plan)), "denoise", done)
    read, changed = module.read_tensors, []

    def forgetful(path):
        tensors, metadata = read(path)
        changed.extend(name for name in tensors if name == part)
        return {name: value * (0.5 if name == part else 1) for name, value in tensors.items()}, metadata

    monkeypatch.setattr(module, "read_tensors", forgetful)
    assert not np.array_equal(frames_of(render(plan, RandomNetworks(), store=store(tmp_path, plan))), expected)
    assert changed


def test_runs_of_a_batch_have_each_their_own():
    plans = [plan_of(TAYLOR, REUSE, seed=seed, sigmas=SIGMAS if seed else LONG) for seed in range(3)]
    alone = [frames_of(render(plan, RandomNetworks())) for plan in plans]
    networks = RandomNetworks()
    runs = [Run(plan, networks, lambda: None, MemoryStore()) for plan in plans]
    for run in runs:
        run.needed = ("text_encoder",)
    list(walk_all(runs))
    for run, expected in zip(runs, alone, strict=True):
        assert np.array_equal(frames_of(finish(run)), expected)


def test_progress_says_what_was_done():
    plan = plan_of(MAG, REUSE)
    told = [
        item.work for item in render(plan, RandomNetworks()) if isinstance(item, Progress) and item.stage == "denoise"
    ]
    assert tuple(told) == plan.acceleration.work
    off = [item.work for item in render(plan_of(), RandomNetworks()) if isinstance(item, Progress)]
    assert set(off) == {None}
