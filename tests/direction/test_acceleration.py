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
    share_saved,
)
from filmgate.direction.gates import LEAST_PROMPTS
from filmgate.direction.gating import Facts, Trials, calibration_of
from filmgate.direction.planner import plan
from filmgate.direction.scopes import scope_of
from filmgate.spec import (
    AccelerationPlan,
    AccelerationUse,
    EightBit,
    Gate,
    GateCheck,
    GuidanceReuse,
    InputFile,
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


def checks_of(**prompts):
    """One number of each level, on so many prompts."""
    return tuple(
        GateCheck(
            level=level, name=level, value=0.1, bound="at most", limit=0.2, passed=True, low=0, high=0.2, samples=count
        )
        for level, count in prompts.items()
    )


ENOUGH = checks_of(forward=LEAST_PROMPTS, trajectory=LEAST_PROMPTS)


def gate_of(made, recipe, profile="balanced", *, weights=WEIGHTS, passed=True, checks=ENOUGH, **changes):
    scope = scope_of(made, weights).model_copy(update=changes)
    return Gate(
        scope=scope, recipe=recipe, profile=profile, passed=passed, reason="within limits" if passed else "too far",
        checks=checks, saved=0.2, created="2026-11-30T12:00:00Z", versions="torch 2", hardware="a processor",
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
UNMEASURED = "no gate was measured: `filmgate gate` does"
UNCALIBRATED = "no gate was measured: `filmgate calibrate`, then `filmgate gate` do"


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
    assert {text for text in reasons(made) if "gate" in text} == {UNMEASURED, UNCALIBRATED}
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
        ({"shift": 12.0}, r"another shift (12, here 5)"),
        ({"resolution": "720p"}, "another resolution (720p, here 96p)"),
        ({"solver": "euler"}, "another solver (euler, here unipc)"),
        ({"steps": 40}, "another number of steps (40, here 20)"),
        ({"grid": "other"}, "another schedule"),
        ({"guidance": (5.0,)}, "another guidance (5, here 4, 3)"),
        ({"boundary": 0.9}, "another boundary (0.9, here 0.875)"),
        ({"operation": "t2i"}, "another task (t2i, here t2v)"),
        ({"precision": "bf16"}, "another precision (bf16, here fp32)"),
        ({"latent_frames": 8}, "another length (4 to 8 latent frames, here 9)"),
        ({"latent_frames": 21}, "another length (11 to 21 latent frames, here 9)"),
        ({"latent_frames": 0, "precision": None},
         "an earlier version, which does not say how long its videos were and in which precision"),
    ],
)  # fmt: skip
def test_a_gate_of_something_else_does_not_count(changes, reason):
    recipe = recipe_with(TaylorSeer, EXACT)
    gate = gate_of(EXACT, recipe, **changes)
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced")
    assert not made.acceleration.recipe
    [choice] = [choice for choice in made.acceleration.considered if choice.recipe == recipe]
    assert choice.reason == f"the gate is of {reason}: `filmgate gate` does, with the same options"


def test_gates_of_other_weights_are_none_of_these():
    recipe = recipe_with(TaylorSeer, EXACT)
    other = gate_of(EXACT, recipe, weights="v" * 64)
    of_these = "no gate was measured of these weights: `filmgate gate` does"
    assert of_these in reasons(planned(Evidence(WEIGHTS, [other]), profile="balanced"))
    published = plan(
        Request(prompt="a red ball", profile="balanced"), model_of("wan2.2-t2v-a14b"), H200, words,
        evidence=Evidence("", [other]),
    )  # fmt: skip
    assert reasons(published) == {UNMEASURED, UNCALIBRATED}, "nobody measured these files"


@pytest.mark.parametrize(
    "wish",
    [
        {"shift": 8.0}, {"width": 320, "height": 192}, {"steps": 30}, {"solver": "euler"}, {"boundary": 0.9},
        {"guidance_high": 7.0}, {"guidance_interval": (0.1, 0.9)}, {"precision": "bf16"}, {"frames": 9},
        {"frames": 37},
    ],
)  # fmt: skip
def test_a_wish_beside_the_gate_is_exact(wish):
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", **wish)
    assert not made.acceleration.recipe


def test_prompt_and_seed_are_not_part_of_the_scope_and_shorter_videos_are_down_to_half():
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT))
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", prompt="a blue cube", seed=9, frames=17)
    assert made.acceleration.recipe


def test_a_gate_that_failed_says_why():
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT), passed=False)
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced")
    assert not made.acceleration.recipe
    assert f"gate {gate.id} failed: too far" in reasons(made)


def later(gate):
    return gate.model_copy(update={"created": "2026-12-01T00:00:00Z"})


@pytest.mark.parametrize("order", [1, -1])
def test_of_gates_that_rest_on_as_much_the_newest_counts(order):
    recipe = recipe_with(TaylorSeer, EXACT)
    old, new = gate_of(EXACT, recipe), later(gate_of(EXACT, recipe, passed=False))
    made = planned(Evidence(WEIGHTS, [new, old][::order]), profile="balanced")
    assert not made.acceleration.recipe
    assert f"gate {new.id} failed: too far; gate {old.id} does not count: it is older" in reasons(made)


@pytest.mark.parametrize(
    "weaker",
    [{"forward": 8, "trajectory": 8}, {"forward": 19, "trajectory": 20, "truth": 20}, {"truth": 20, "forward": 20}],
)
@pytest.mark.parametrize("passed", [True, False])
def test_a_newer_gate_that_rests_on_less_does_not_count(weaker, passed):
    recipe = recipe_with(TaylorSeer, EXACT)
    strong = gate_of(EXACT, recipe, passed=passed, checks=checks_of(forward=20, trajectory=20, truth=20))
    weak = later(gate_of(EXACT, recipe, passed=not passed, checks=checks_of(**weaker)))
    made = planned(Evidence(WEIGHTS, [strong, weak]), profile="balanced")
    assert made.acceleration.recipe == (recipe if passed else ())
    said = "passed: within limits" if passed else "failed: too far"
    passed_over = f"gate {weak.id} does not count: it rests on fewer prompts or levels"
    assert f"gate {strong.id} {said}; {passed_over}" in reasons(made)


def test_a_weak_gate_of_another_length_does_not_replace_one_that_holds_here_too():
    """Toybox's own gates are of 33 frames; one of a single prompt at 17 would hold for 17 as well."""
    recipe, short = recipe_with(TaylorSeer, EXACT), planned(frames=17)
    strong = gate_of(EXACT, recipe, passed=False, checks=checks_of(forward=20, trajectory=20, truth=20))
    weak = later(gate_of(short, recipe))
    evidence = Evidence(WEIGHTS, [strong, weak])
    assert not planned(evidence, profile="balanced", frames=17).acceleration.recipe
    assert planned(Evidence(WEIGHTS, [weak]), profile="balanced", frames=17).acceleration.recipe == recipe


def test_where_each_has_what_the_other_lacks_both_must_pass():
    recipe = recipe_with(TaylorSeer, EXACT)
    many = gate_of(EXACT, recipe, checks=checks_of(forward=30, trajectory=30), passed=False)
    looked = later(gate_of(EXACT, recipe, checks=checks_of(forward=10, trajectory=10, truth=10)))
    assert f"gate {many.id} failed: too far" in reasons(planned(Evidence(WEIGHTS, [many, looked]), profile="balanced"))
    both = Evidence(WEIGHTS, [many.model_copy(update={"passed": True}), looked])
    assert planned(both, profile="balanced").acceleration.recipe == recipe


@pytest.mark.parametrize("few", [{"forward": 7, "trajectory": 8}, {"forward": 8, "trajectory": 8, "truth": 1}, {}])
def test_a_gate_of_few_prompts_licenses_nothing_though_it_passed(few):
    """As one that was stored before there was a least number."""
    gate = gate_of(EXACT, recipe_with(TaylorSeer, EXACT), checks=checks_of(**few))
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced")
    assert not made.acceleration.recipe
    [reason] = [reason for reason in reasons(made) if gate.id in reason]
    assert reason.startswith(f"gate {gate.id} licenses nothing: ")
    assert reason.endswith("too few: 8 at least")


def test_which_steps_an_interval_guides_is_part_of_the_schedule():
    narrow, wide = ({"guidance_interval": interval} for interval in ((0.3, 0.9), (0.2, 0.9)))
    made = planned(**narrow)
    assert scope_of(made, WEIGHTS).guidance == scope_of(planned(**wide), WEIGHTS).guidance
    gate = gate_of(made, recipe_with(TaylorSeer, EXACT))
    assert planned(Evidence(WEIGHTS, [gate]), profile="balanced", **narrow).acceleration.recipe
    assert not planned(Evidence(WEIGHTS, [gate]), profile="balanced", **wide).acceleration.recipe


@pytest.mark.parametrize("profile", ["balanced", "fast"])
@pytest.mark.parametrize("wish", [{}, {"guidance_high": 1.0, "guidance_low": 1.0}, {"steps": 4}])
def test_a_gate_is_advised_where_trials_would_measure_it(profile, wish):
    made, tried = planned(profile=profile, **wish), set()
    for name in ALLOWED[profile]:
        trials = Trials(name, [])
        trials.begin(planned(**wish), Facts("", "", "", ""))
        tried |= {gate.recipe for gate in trials.gates()}
    advised = {choice.recipe: choice.reason for choice in made.acceleration.considered if "filmgate" in choice.reason}
    assert {recipe for recipe, reason in advised.items() if reason == UNMEASURED} == tried
    assert all(
        any(isinstance(use.acceleration, MagCache) for use in recipe)
        for recipe, reason in advised.items()
        if reason == UNCALIBRATED
    )


def test_no_gate_is_promised_where_none_can_be_made():
    model = model_of("wan2.2-i2v-a14b")
    image = InputFile(role="image", path="p.png", sha256="0" * 64, width=832, height=480)
    made = plan(Request(prompt="a red ball", profile="fast", image="p.png"), model, H200, words, inputs=[image])
    [reason] = reasons(made)
    assert "there is no way to have one for this task" in reason
    assert "filmgate gate" not in reason


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


def test_of_calibrations_the_one_of_most_prompts_counts():
    recipe = recipe_with(MagCache, EXACT)
    careful = calibrated(EXACT).model_copy(update={"prompts": 6})
    hasty = calibrated(EXACT, 0.5).model_copy(update={"created": "2026-12-01T00:00:00Z"})
    evidence = Evidence(WEIGHTS, [gate_of(EXACT, recipe)], [careful, hasty])
    assert planned(evidence, profile="balanced").pass_counts.reused > 0


def test_a_gate_of_magcache_is_of_the_steps_that_its_calibration_skipped():
    recipe = recipe_with(MagCache, EXACT)
    gate = gate_of(EXACT, recipe)
    gate = gate.model_copy(update={"work": followed(EXACT, recipe, calibrated(EXACT), "balanced").work})
    assert planned(Evidence(WEIGHTS, [gate], [calibrated(EXACT)]), profile="balanced").acceleration.recipe == recipe
    made = planned(Evidence(WEIGHTS, [gate], [calibrated(EXACT, 0.95)]), profile="balanced")
    assert not made.acceleration.recipe
    assert any("of other steps, by another calibration" in reason for reason in reasons(made))


def test_two_devices_that_share_guidance_reuse_none():
    gate = gate_of(EXACT, recipe_with(GuidanceReuse, EXACT))
    assert planned(Evidence(WEIGHTS, [gate]), profile="balanced").acceleration.recipe
    made = planned(Evidence(WEIGHTS, [gate]), profile="balanced", gpus=2, device="cpu")
    assert made.layout.cfg == 2
    assert not made.acceleration.recipe
    assert any("side by side on two devices" in reason for reason in reasons(made))


@pytest.mark.parametrize(
    ("acceleration", "reason"),
    [
        (SparseAttention(budget=0.25, protected=0), "in a ring of devices reads every block"),
        (EightBit(), "in a ring of devices is not in eight bits"),
        (EightBit(attention=False), ""),
    ],
)
def test_attention_in_a_ring_is_not_light(acceleration, reason):
    def verdict(gpus):
        made = plan(Request(prompt="a red ball", gpus=gpus), model_of("wan2.2-t2v-a14b"), H200, words)
        return impossible(made, (AccelerationUse(expert="low_noise", acceleration=acceleration),))

    assert not verdict(8)
    assert reason in verdict(3), "40 heads"
    assert bool(verdict(3)) == bool(reason)


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
