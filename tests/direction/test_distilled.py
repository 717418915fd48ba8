"""Few-step presets, frozen, and the plans that they make."""

import math

import pytest
from tests.direction.models import H200, model_of, tiny_pair, words

from filmgate.direction.distilled import DISTILLED, as_shipped
from filmgate.direction.planner import plan
from filmgate.spec import FewStep, InvalidRequest, LoraChoice, LoraUse, Request, UnknownName

T2V, I2V, WAN21 = model_of("wan2.2-t2v-a14b"), model_of("wan2.2-i2v-a14b"), model_of("wan2.1-t2v-1.3b")
TI2V = model_of("wan2.2-ti2v-5b")
HIGH, LOW = "high_noise", "low_noise"


def lora(expert=HIGH, **changes):
    fields = {"path": "/l/light.safetensors", "sha256": "a" * 64, "expert": expert, "strength": 1.0, "changes": 400}
    return LoraUse(**fields | changes)


BOTH = (lora(HIGH), lora(LOW))


def planned(model=T2V, loras=BOTH, **request):
    return plan(Request(prompt="a cat", **request), model, H200, words, loras=loras)


PUBLISHED = {
    # model, noise levels, what the network is told, steps of the high-noise expert, solver, factor of the noise
    "lightning": (T2V, (1, 0.9375, 5 / 6, 0.625), (1000, 937.5, 833.3333, 625), 2, "euler", 1),
    "lightning-2": (T2V, (1, 5 / 6), (1000, 833.3333), 1, "euler", 1),
    "lightning-flf2v": (
        T2V, (1, 48 / 49, 16 / 17, 16 / 19), (1000, 979.5918, 941.1765, 842.1053), 2, "euler", 1,
    ),
    "hybrid": (T2V, (1, 35 / 36, 0.9375, 5 / 6, 0.625), (1000, 972.2222, 937.5, 833.3333, 625), 3, "euler", 1),
    "fastwan": (TI2V, (1, 0.756757, 0.521739), (1000, 757, 522), 0, "lcm", 1),
    "turbowan-t2v": (
        WAN21, (0.98765, 0.93378, 0.85290, 0.60898), (987.65, 933.78, 852.90, 608.98), 0, "lcm", 0.98765,
    ),
    "turbowan-i2v": (
        T2V, (0.99502, 0.93378, 0.85290, 0.60898), (995.02, 933.78, 852.90, 608.98), 2, "lcm", 0.99502,
    ),
}  # fmt: skip


def test_every_preset_is_frozen_here():
    assert set(PUBLISHED) == set(DISTILLED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schedules(name):
    model, levels, clock, high, solver, factor = PUBLISHED[name]
    made = planned(model, BOTH if model is T2V else (), distilled=name)
    assert [step.sigma for step in made.steps] == pytest.approx(levels, abs=6e-6)
    assert [step.timestep for step in made.steps] == pytest.approx(clock, abs=6e-3)
    assert made.steps[-1].sigma_next == 0
    assert made.steps_of(HIGH) == high
    assert (made.solver, made.distilled) == (solver, name)
    assert made.noise_scale == pytest.approx(factor, abs=6e-6)
    undistilled = 2 if name == "hybrid" else 0
    assert [(step.guidance, step.adapted) for step in made.steps] == [
        (4.0, False) if index < undistilled else (1.0, True) for index in range(len(levels))
    ]
    assert sum(step.passes for step in made.steps) == len(levels) + undistilled
    assert made.reads_negative == (name == "hybrid")


def test_the_levels_of_fastwan_are_those_of_its_own_grid():
    """FastVideo takes the nearest of 1000 training levels at shift 8 to the three times that it lists."""
    grid = [8 * u / (1 + 7 * u) for u in (1 - i / 1000 for i in range(1000))]
    nearest = [min(grid, key=lambda level: abs(1000 * level - t)) for t in (1000, 757, 522)]
    assert DISTILLED["fastwan"].sigmas(3, 8.0)[:-1] == pytest.approx(nearest, abs=1e-9)


def test_the_angles_of_turbowan():
    for level, angle in zip(DISTILLED["turbowan-t2v"].levels, (math.atan(80), 1.5, 1.4, 1.0), strict=True):
        assert level / (1 - level) == pytest.approx(math.tan(angle))


def test_lightning_is_two_and_two_at_both_boundaries_by_noise_level_alone():
    for model in (T2V, model_of("wan2.2-t2v-a14b", variant="wan2.2-i2v-a14b")):
        made = planned(model, distilled="lightning")
        assert [step.expert for step in made.steps] == [HIGH, HIGH, LOW, LOW]
        assert made.boundary == {"wan2.2-t2v-a14b": 0.875, "wan2.2-i2v-a14b": 0.9}[model.variant]


def test_the_presets_own_boundary_is_for_pairs_only():
    assert planned(WAN21, (), distilled="lightning-flf2v").boundary is None
    assert planned(distilled="lightning-flf2v").boundary == 0.96


def test_the_shift_at_480p_is_not_that_of_the_model():
    made = planned(model_of("wan2.1-t2v-14b"), (), distilled="lightning", width=832, height=480)
    assert made.shift == 5.0


def test_what_is_asked_for_counts_more_than_the_preset():
    made = planned(distilled="lightning", solver="lcm", guidance_high=3.5, boundary=0.95, shift=7.0, loras=BOTH)
    assert (made.solver, made.shift, made.boundary) == ("lcm", 7.0, 0.95)
    assert [(step.expert, step.guidance) for step in made.steps][:2] == [(HIGH, 3.5), (HIGH, 3.5)]
    assert [step.passes for step in made.steps] == [2 if step.expert == HIGH else 1 for step in made.steps]
    assert made.steps[1].sigma == pytest.approx(7 * 0.75 / (1 + 6 * 0.75))
    told = planned(TI2V, (), distilled="fastwan", shift=5.0)
    assert [step.timestep for step in told.steps] == [1000 * step.sigma for step in told.steps]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_rcm_may_stop_earlier(steps):
    made = planned(WAN21, (), distilled="turbowan-t2v", steps=steps)
    assert [step.sigma for step in made.steps] == list(DISTILLED["turbowan-t2v"].levels[:steps])


@pytest.mark.parametrize(
    ("name", "steps", "allowed"), [("lightning", 8, "4"), ("fastwan", 2, "3"), ("turbowan-t2v", 5, "1 to 4")]
)
def test_other_numbers_of_steps_are_refused(name, steps, allowed):
    with pytest.raises(InvalidRequest, match=rf"steps: {steps} are not.*Allowed: {allowed}\."):
        planned(distilled=name, steps=steps)


def test_an_unknown_preset_suggests_known_ones():
    with pytest.raises(UnknownName, match=r"no few-step preset named 'lightening'.*Nearest valid: lightning"):
        planned(distilled="lightening")


def test_hybrid_guides_its_first_steps_as_the_model_does_or_as_it_is_asked():
    assert [step.guidance for step in planned(distilled="hybrid").steps] == [4.0, 4.0, 1.0, 1.0, 1.0]
    assert [step.guidance for step in planned(distilled="hybrid", guidance_high=6.0).steps] == [6.0, 6.0, 1, 1, 1]
    nag = planned(distilled="hybrid", guidance_method="nag")
    assert [step.guidance for step in nag.steps] == [4.0, 4.0, 1.0, 1.0, 1.0]
    assert nag.guidance_rule.method == "nag"


def test_hybrid_never_guides_its_distilled_steps():
    """One scale for both experts, which is what --guidance asks for, is that of the undistilled steps."""
    for model, rest in ((T2V, {}), (model_of("wan2.1-t2v-14b"), {"loras": (lora("dense"),)})):
        made = planned(model, distilled="hybrid", guidance_high=6.0, guidance_low=6.0, **rest)
        assert [step.guidance for step in made.steps] == [6.0, 6.0, 1.0, 1.0, 1.0]
        assert sum(step.passes for step in made.steps) == 7
    nag = planned(distilled="hybrid", guidance_high=6.0, guidance_low=6.0, guidance_method="nag")
    assert [step.guidance for step in nag.steps] == [6.0, 6.0, 1.0, 1.0, 1.0]
    assert planned(distilled="hybrid", guidance_low=1.0).steps == planned(distilled="hybrid").steps
    for scales in ({"guidance_low": 3.0}, {"guidance_low": 3.0, "guidance_high": 6.0}):
        with pytest.raises(InvalidRequest, match=r"guidance_low: 3 is for distilled steps.*guidance_high for"):
            planned(distilled="hybrid", **scales)


@pytest.mark.parametrize("loras", [(), (lora(LOW),)])
def test_hybrid_needs_a_lora_that_it_can_leave_out(loras):
    with pytest.raises(InvalidRequest, match=r"hybrid begins without the LoRAs of the high-noise expert.*lightning"):
        planned(distilled="hybrid", loras=loras)


def test_a_video_that_is_painted_over_is_not_scaled():
    steps = {"distilled": "turbowan-t2v", "video": "a.mp4", "strength": 0.5}
    made = planned(WAN21, (), **steps)
    assert made.noise_scale == 1.0
    assert [step.sigma for step in made.steps] == list(DISTILLED["turbowan-t2v"].levels[2:])


def test_what_is_probably_not_meant():
    plain = planned(distilled="lightning", loras=()).warnings
    assert any("needs distilled weights or a distilling LoRA" in warning for warning in plain)
    assert planned(distilled="lightning").warnings == ()
    named = model_of("wan2.2-t2v-a14b", id="wan2.2-lightx2v")
    assert planned(named, (), distilled="lightning").warnings == ()
    wrong = planned(distilled="fastwan").warnings
    assert any("fastwan is not published for wan2.2-t2v-a14b" in warning for warning in wrong)


@pytest.mark.parametrize(("name", "fitting"), [("lightning", "euler"), ("fastwan", "lcm"), ("turbowan-i2v", "lcm")])
def test_a_solver_that_weights_were_not_distilled_for_is_told(name, fitting):
    model = {"fastwan": TI2V, "turbowan-i2v": model_of("wan2.2-t2v-a14b", variant="wan2.2-i2v-a14b")}.get(name, T2V)
    loras = tuple(lora(expert.name) for expert in model.experts)
    assert planned(model, loras, distilled=name, solver=fitting).warnings == ()
    assert planned(model, loras, distilled=name, solver="unipc").warnings == (
        f"{name} was distilled for the solver {fitting}; with unipc its steps end elsewhere",
    )


def test_without_a_preset_nothing_changes():
    made = planned(loras=())
    assert (made.distilled, made.noise_scale, made.shift, len(made.steps)) == (None, 1.0, 12.0, 40)
    assert all(step.adapted for step in made.steps)


def test_loras_that_fit_in_part_are_listed():
    missing = tuple(f"blocks.{i}.cross_attn.k_img.weight" for i in range(40))
    (warning,) = planned(loras=(lora(left_out=missing[:2]), lora(LOW))).warnings
    assert warning == (
        "light.safetensors: 2 (blocks.0.cross_attn.k_img.weight, blocks.1.cross_attn.k_img.weight) of 400 changes "
        "have no place in the model and are left out"
    )
    (warning,) = planned(loras=(lora(left_out=missing),)).warnings
    assert "light.safetensors: 40 (blocks.0." in warning
    assert "and 34 more) of 400" in warning
    (warning,) = planned(loras=(lora(left_out=missing), lora(LOW, left_out=missing))).warnings
    assert "and 34 more) of 400" in warning, "of both experts once"


def test_a_lora_for_the_other_expert_is_told():
    (warning,) = planned(loras=(lora(told=LOW),)).warnings
    assert warning == "light.safetensors is for the low-noise expert by its name, and is used for the high-noise one"


def test_a_lora_that_paints_no_step_is_told():
    warnings = planned(tiny_pair(preset=tiny_pair().preset, vocabulary=None), boundary=0.9999, loras=BOTH).warnings
    assert any(w == "light.safetensors has no effect: the high-noise expert paints no step with it" for w in warnings)


@pytest.mark.parametrize(("interval", "guided"), [((0.0, 1.0), 40), ((0.5, 1.0), 37), ((0.0, 0.4), 2), ((0.3, 0.8), 9)])
def test_guidance_outside_its_interval_is_a_single_pass(interval, guided):
    made = planned(loras=(), guidance_interval=interval)
    low, high = interval
    assert [step.passes == 2 for step in made.steps] == [low <= step.sigma <= high for step in made.steps]
    assert sum(step.passes for step in made.steps) == 40 + guided


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.8, 0.2), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 1.0)])
def test_an_interval_is_a_range_of_noise_levels(interval):
    with pytest.raises(InvalidRequest, match=r"guidance_interval: .* is no range of noise levels"):
        planned(loras=(), guidance_interval=interval)


@pytest.mark.parametrize("method", ["cfg", "cfg_zero_star", "apg", "nag"])
def test_the_method_is_part_of_the_plan(method):
    made = planned(loras=(), guidance_method=method)
    assert made.guidance_rule.method == method
    assert {step.passes for step in made.steps} == ({1} if method == "nag" else {2})
    assert made.reads_negative
    assert (made.fingerprint == planned(loras=()).fingerprint) == (method == "cfg")


def test_nag_is_instead_of_a_scale():
    with pytest.raises(InvalidRequest, match="nag is instead of a guidance scale"):
        planned(loras=(), guidance_method="nag", guidance_low=3.0)
    assert planned(loras=(), guidance_method="nag", guidance_low=1.0, negative="blur").warnings == ()


def test_a_method_without_guidance_is_told():
    warnings = planned(distilled="lightning", guidance_method="apg").warnings
    assert warnings == ("guidance is off, so that apg has no effect",)
    warnings = planned(guidance_interval=(0.0, 0.001), loras=()).warnings
    assert any("no step lies in the guidance interval" in warning for warning in warnings)


def test_a_distilling_lora_without_its_schedule_is_told():
    (warning,) = planned(loras=(lora(path="/l/Wan2.2-Lightning/high.safetensors"),)).warnings
    assert warning.startswith("high.safetensors distils by its name")
    assert planned(loras=(lora(path="/l/Wan2.2-Lightning/high.safetensors"),), distilled="lightning").warnings == ()


OWN = ((HIGH, "lightning/high.safetensors"), (LOW, "lightning/low.safetensors"))


def shipping(**changes):
    return T2V.model_copy(update={"path": "/m", "few_step": FewStep(preset="lightning", loras=OWN, **changes)})


def test_a_model_brings_its_own_loras_for_its_preset():
    made = as_shipped(Request(prompt="a cat", distilled="lightning"), shipping())
    assert made.lora_high == (LoraChoice(path="/m/lightning/high.safetensors"),)
    assert made.lora_low == (LoraChoice(path="/m/lightning/low.safetensors"),)
    assert made.distilled == "lightning"


@pytest.mark.parametrize(
    "wish",
    [
        {"distilled": "hybrid"},
        {"distilled": "lightning", "lora": (LoraChoice(path="x"),)},
        {"steps": 8},
        {"guidance_low": 3.0},
        {"lora_low": (LoraChoice(path="x"),)},
    ],
)
def test_who_says_something_else_gets_that(wish):
    request = Request(prompt="a cat", **wish)
    assert as_shipped(request, shipping(default=True)) == request


def test_few_steps_may_be_the_default_and_can_be_refused():
    bare = Request(prompt="a cat", seed=7, frames=9)
    assert as_shipped(bare, shipping()) == bare
    assert as_shipped(bare, T2V) == bare
    assert as_shipped(bare, shipping(default=True)).distilled == "lightning"
    refused = as_shipped(Request(prompt="a cat", distilled="none"), shipping(default=True))
    assert (refused.distilled, refused.lora_high) == (None, ())
    assert as_shipped(Request(prompt="a cat", distilled="none"), T2V).distilled is None


def test_few_steps_without_the_loras_that_are_there_are_told():
    def told(steps, model, loras=()):
        return any("LoRAs that paint in 4" in text for text in planned(model, loras, steps=steps).warnings)

    assert [told(steps, shipping()) for steps in (4, 8, 20)] == [True, True, False]
    assert not told(4, T2V), "it has none"
    assert not told(4, shipping(), BOTH), "others are on"
