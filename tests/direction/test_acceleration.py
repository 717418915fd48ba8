"""What a profile skips, by what was measured, and the reason for everything that is off."""

import pytest
from tests.direction.models import CPU, H200, model_of, tiny_pair, words
from tests.takes import make_plan

from filmgate.direction.acceleration import (
    ALLOWED,
    WAYS,
    Evidence,
    followed,
    impossible,
    recipe_text,
    recipes,
    scope_of,
    share_saved,
)
from filmgate.direction.gating import Facts, calibration_of
from filmgate.direction.planner import plan
from filmgate.spec import (
    AccelerationPlan,
    AccelerationUse,
    EightBit,
    Gate,
    GuidanceReuse,
    MagCache,
    Request,
    SparseAttention,
    TaylorSeer,
)

WEIGHTS = "w" * 64
TAYLOR = TaylorSeer(interval=2, order=2, protected=3)


def planned(evidence=None, where=CPU, **wish):
    request = Request(**{"prompt": "a red ball rolls", **wish})
    return plan(request, tiny_pair(), where, words, evidence=evidence or Evidence())


def gate_of(made, recipe, profile="balanced", *, weights=WEIGHTS, passed=True, **changes):
    scope = scope_of(made, weights).model_copy(update=changes)
    return Gate(
        scope=scope, recipe=recipe, profile=profile, passed=passed, reason="within limits" if passed else "too far",
        checks=(), saved=0.2, created="2026-11-30T12:00:00Z", versions="torch 2", hardware="a processor",
    )  # fmt: skip


def calibrated(made, value=0.999, weights=WEIGHTS):
    ratios = {(branch, step): (value, 0.0, 0.0) for branch in ("conditional", "unconditional") for step in range(99)}
    return calibration_of(made, [ratios], Facts(weights, "2026-11-30T12:00:00Z", "torch 2", "a processor"))


def recipe_with(kind, made, profile="balanced", *, both=False):
    return next(
        recipe for recipe in recipes(profile, made)
        if [type(use.acceleration) for use in recipe] == [kind] * (2 if both else 1)
    )  # fmt: skip


def reasons(made):
    return {choice.reason for choice in made.acceleration.considered}


EXACT = planned()


def test_what_nobody_asks_for_skips_nothing():
    assert EXACT.acceleration == AccelerationPlan(profile="exact")
    assert planned(profile="plain").acceleration == AccelerationPlan(profile="plain")
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    assert not planned(Evidence(WEIGHTS, [gate])).acceleration.recipe, "a gate switches nothing on by itself"


def test_profiles_that_skip_run_the_networks_as_exact_does():
    for profile in ("balanced", "fast"):
        made = plan(Request(prompt="a red ball", profile=profile), model_of("wan2.2-t2v-a14b"), H200, words)
        assert made.speed.profile == "exact"
        assert made.speed.attention == "cudnn"


@pytest.mark.parametrize("profile", ["balanced", "fast"])
def test_without_a_gate_it_is_exact_and_says_why(profile):
    made = planned(profile=profile)
    assert not made.acceleration.work
    assert made.fingerprint == EXACT.fingerprint
    assert reasons(made) == {"no gate was measured: `filmgate gate` does"}
    [warning] = [text for text in made.warnings if "skips nothing" in text]
    assert f"profile {profile} skips nothing here and is exact: no gate was measured" in warning


def test_a_gate_that_passes_switches_its_recipe_on():
    recipe = recipe_with(TaylorSeer, EXACT)
    gate = gate_of(EXACT, recipe)
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced")
    assert made.acceleration.recipe == recipe
    assert made.acceleration.gates == (gate.id,)
    assert made.fingerprint != EXACT.fingerprint
    assert made.pass_counts.computed < made.pass_counts.total == EXACT.pass_counts.total
    [taken] = [choice for choice in made.acceleration.considered if choice.taken]
    assert taken.reason == f"gate {gate.id} passed: within limits"
    assert {step.expert for step, work in zip(made.steps, made.acceleration.work, strict=True)
            if work.blocks != "computed"} == {"low_noise"}  # fmt: skip
    assert not [text for text in made.warnings if "skips nothing" in text]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights": "v" * 64}, "the gate is of another file of weights"),
        ({"shift": 12.0}, r"the gate is of another shift (12, here 5)"),
        ({"resolution": "720p"}, "the gate is of another resolution (720p, here 96p)"),
        ({"solver": "euler"}, "the gate is of another solver (euler, here unipc)"),
        ({"steps": 40}, "the gate is of another number of steps (40, here 20)"),
        ({"grid": "other"}, "the gate is of another schedule"),
        ({"model": "wan2.1-t2v-14b"}, "the gate is of another model (wan2.1-t2v-14b, here wan2.2-t2v-a14b)"),
        ({"boundary": 0.9}, "the gate is of another boundary (0.9, here 0.875)"),
        ({"operation": "i2v"}, "the gate is of another task (i2v, here t2v)"),
    ],
)
def test_a_gate_of_something_else_does_not_count(changes, reason):
    recipe = recipe_with(TaylorSeer, EXACT)
    gate = gate_of(EXACT, recipe, **{"weights": WEIGHTS, **changes}) if "weights" not in changes else gate_of(
        EXACT, recipe, weights=changes["weights"]
    )  # fmt: skip
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced")
    assert not made.acceleration.recipe
    [choice] = [choice for choice in made.acceleration.considered if choice.recipe == recipe]
    assert choice.reason == reason


@pytest.mark.parametrize(
    "wish",
    [
        {"shift": 8.0}, {"width": 320, "height": 192}, {"steps": 30}, {"solver": "euler"}, {"boundary": 0.9},
        {"guidance_high": 7.0}, {"guidance_interval": (0.1, 0.9)},
    ],
)  # fmt: skip
def test_a_wish_beside_the_gate_is_exact(wish):
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", **wish)
    assert not made.acceleration.recipe


def test_prompt_seed_and_length_are_not_part_of_the_scope():
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", prompt="a blue cube", seed=9, frames=17)
    assert made.acceleration.recipe


def test_a_gate_that_failed_says_why():
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT), passed=False)
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced")
    assert not made.acceleration.recipe
    assert f"gate {gate.id} failed: too far" in reasons(made)


def test_the_newest_gate_counts():
    recipe = recipe_with(TaylorSeer, EXACT)
    old, new = gate_of(EXACT, recipe), gate_of(EXACT, recipe, passed=False)
    new = new.model_copy(update={"created": "2026-12-01T00:00:00Z"})
    assert not planned(Evidence(WEIGHTS, [new, old]), profile="balanced").acceleration.recipe


def test_what_saves_most_is_taken():
    gates = [gate_of(EXACT, recipe_with(kind, EXACT)) for kind in (GuidanceReuse, TaylorSeer)]
    gates[0] = gates[0].model_copy(update={"saved": 0.1})
    made = planned(Evidence(WEIGHTS, gates), profile="balanced")
    assert made.acceleration.recipe == gates[1].recipe
    others = [choice.reason for choice in made.acceleration.considered if choice.recipe == gates[0].recipe]
    assert others == ["passes too, and saves 10%"]


def test_fast_may_do_what_balanced_may_and_not_the_other_way_round():
    assert ALLOWED["fast"] == ("balanced", "fast")
    narrow = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    assert planned(Evidence(WEIGHTS, [narrow]), profile="fast").acceleration.recipe == narrow.recipe
    wide = gate_of(EXACT, recipes("fast", EXACT)[0], "fast")
    assert planned(Evidence(WEIGHTS, [wide]), profile="fast").acceleration.recipe == wide.recipe
    assert not planned(Evidence(WEIGHTS, [wide]), profile="balanced").acceleration.recipe


def test_magcache_needs_a_calibration_of_the_same_scope():
    recipe = recipe_with(MagCache, EXACT)
    gate = gate_of(EXACT, recipe)
    assert "its ratios were not calibrated for this: `filmgate calibrate` does" in reasons(
        planned(Evidence(WEIGHTS, [gate]), profile="balanced")
    )
    made = planned(Evidence(WEIGHTS, [gate], [calibrated(EXACT)]), profile="balanced")
    assert made.acceleration.recipe == recipe
    assert made.pass_counts.reused > 0
    elsewhere = calibrated(planned(shift=9.0))
    assert not planned(Evidence(WEIGHTS, [gate], [elsewhere]), profile="balanced").acceleration.recipe
    other = calibrated(EXACT, weights="v" * 64)
    assert not planned(Evidence(WEIGHTS, [gate], [other]), profile="balanced").acceleration.recipe


def test_two_devices_that_share_guidance_reuse_none():
    gate = gate_of(EXACT, recipe_with(GuidanceReuse, EXACT))
    assert planned(Evidence(WEIGHTS, [gate]), profile="balanced").acceleration.recipe
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", gpus=2, device="cpu")
    assert made.layout.cfg == 2
    assert not made.acceleration.recipe
    assert any("side by side on two devices" in reason for reason in reasons(made))


def test_attention_in_a_ring_is_not_sparse():
    def verdict(gpus):
        made = plan(Request(prompt="a red ball", gpus=gpus), model_of("wan2.2-t2v-a14b"), H200, words)
        recipe = (AccelerationUse(expert="low_noise", acceleration=SparseAttention(budget=0.25, protected=0)),)
        return impossible(made, recipe)

    assert not verdict(8)
    assert "in a ring of devices reads every block" in verdict(3), "40 heads"


def test_few_step_presets_skip_nothing():
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", distilled="lightning")
    assert not made.acceleration.recipe
    assert "a few-step preset leaves nothing to skip" in reasons(made)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"weights": "int8"}, "weights in few bits are not those that gates are measured on"),
        ({"guidance_method": "apg"}, "gates are measured with classifier-free guidance"),
    ],
)
def test_what_no_gate_was_measured_with(wish, reason):
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", **wish)
    assert not made.acceleration.recipe
    assert reason in reasons(made)


def test_a_plan_that_skips_is_expected_to_take_less_time_and_more_memory():
    recipe = recipe_with(TaylorSeer, EXACT)
    made = planned(Evidence(WEIGHTS, [gate_of(EXACT, recipe)]), profile="balanced")
    counts = made.pass_counts
    assert made.times.denoise == pytest.approx(EXACT.times.denoise * counts.computed / counts.total)
    assert made.memory.activations > EXACT.memory.activations


def test_every_recipe_of_a_profile_is_named_once():
    for profile in WAYS:
        names = [recipe_text(recipe) for recipe in recipes(profile, EXACT)]
        assert len(set(names)) == len(names)
    low = (AccelerationUse(expert="low_noise", acceleration=TAYLOR),)
    both = (*low, AccelerationUse(expert="high_noise", acceleration=TAYLOR))
    assert recipe_text(low) == "TaylorSeer, one step in 2, order 2, in low-noise"
    assert recipe_text(both) == "TaylorSeer, one step in 2, order 2, in low-noise and high-noise"
    wide = SparseAttention(budget=0.25, per_head=True, radial=0.5, refresh=3)
    assert recipe_text((AccelerationUse(expert="low_noise", acceleration=wide),)) == (
        "attention to 25% of the blocks after 20%, each head its own share, chosen by place too (0.5), lists kept for"
        " 3 steps, in low-noise"
    )


def test_a_dense_model_has_one_place_for_each_way():
    made = make_plan(boundary=None)
    on_a_cpu = [way for way in WAYS["balanced"] if not any(isinstance(one, EightBit | SparseAttention) for one in way)]
    assert len(recipes("balanced", made)) == len(on_a_cpu)
    assert {use.expert for recipe in recipes("balanced", made) for use in recipe} == {"dense"}


def test_passes_are_made_lighter_where_there_are_kernels_for_it():
    """On a GPU in bf16, with heads of 128, of videos that are long enough; weights in eight bits must stay."""

    def kinds(**wish):
        made = plan(Request(prompt="a red ball", **wish), model_of("wan2.2-t2v-a14b"), H200, words)
        return {type(use.acceleration) for recipe in recipes("fast", made) for use in recipe}

    assert {EightBit, SparseAttention} <= kinds()
    assert not {EightBit, SparseAttention} & kinds(precision="fp16")
    assert SparseAttention not in kinds(frames=1, width=832, height=480)
    assert EightBit not in kinds(memory="streamed")
    assert not {EightBit, SparseAttention} & {type(use.acceleration) for one in recipes("fast", EXACT) for use in one}


def test_what_makes_passes_shorter_saves_by_how_much_it_is_expected_to():
    made = plan(Request(prompt="a red ball", width=1280, height=720), model_of("wan2.2-t2v-a14b"), H200, words)
    saved = {}
    for name, uses in {
        "8bit": (EightBit(),), "sparse": (SparseAttention(budget=0.25, protected=0),),
        "both": (EightBit(), SparseAttention(budget=0.25, protected=0)),
        "late": (EightBit(), SparseAttention(budget=0.25, protected=0.5)),
        "guidance": (EightBit(), GuidanceReuse(after=0.5, interval=2)),
    }.items():  # fmt: skip
        recipe = tuple(
            AccelerationUse(expert=name, acceleration=use) for name in ("high_noise", "low_noise") for use in uses
        )
        saved[name] = share_saved(made, followed(made, recipe, None, "fast").work, recipe)
    assert 0.2 < saved["8bit"] < 0.35
    assert 0.45 < saved["sparse"] < saved["both"] < 0.75
    assert saved["8bit"] < saved["late"] < saved["both"]
    assert saved["8bit"] < saved["guidance"] < saved["8bit"] + 0.15
