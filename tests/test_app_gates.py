"""Calibrate, gate, plan, render: what was measured with a model decides what its plans skip. Over a tiny pair."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.engine.wan_directory import SIDECAR, tiny_wan_directory

from filmgate.app import Filmgate
from filmgate.app.places import shipped_directories
from filmgate.backends import evidence, trials
from filmgate.direction import acceleration, gates, trial_prompts
from filmgate.media.manifest import read_take
from filmgate.spec import (
    AccelerationUse,
    Calibration,
    DeviceError,
    Done,
    EightBit,
    Gate,
    InvalidRequest,
    Progress,
    Request,
)

STEPS = 14
"""Enough for both experts to skip some."""


def last_of(items, kind):
    return [item for item in items if isinstance(item, kind)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tiny_wan_directory(tmp_path_factory.mktemp("gated") / "tiny", sidecar=SIDECAR)


@pytest.fixture
def filmgate(tmp_path, monkeypatch):
    wide = {
        profile: {
            name: limit._replace(value=1e9 if limit.bound == "at most" else -1e9) for name, limit in limits.items()
        }
        for profile, limits in gates.LIMITS.items()
    }
    monkeypatch.setattr(gates, "LIMITS", wide)
    monkeypatch.setattr(gates, "LEAST_PROMPTS", 2)
    monkeypatch.setattr(trial_prompts, "OPEN", ("a red ball", "a cube"))
    return Filmgate(cache=tmp_path / "cache")


def wish(root, **changes):
    return Request(**{"prompt": "a red ball", "model": str(root), "steps": STEPS, "device": "cpu", **changes})


def test_what_is_measured_is_what_a_plan_goes_by(filmgate, root, tmp_path):
    [calibration] = last_of(filmgate.calibrate(wish(root), prompts=2), Calibration)
    assert calibration.prompts == 2
    assert {(row.expert, row.branch) for row in calibration.ratios} == {
        (expert, branch) for expert in ("high_noise", "low_noise") for branch in ("conditional", "unconditional")
    }
    assert sum(len(row.ratios) for row in calibration.ratios) == 2 * STEPS
    assert all(row.ratios[0] == 1.0 and min(row.ratios) > 0 for row in calibration.ratios)

    found = last_of(filmgate.gate(wish(root), "balanced", prompts=2), Gate)
    assert found
    assert all(gate.passed for gate in found)
    assert {check.level for gate in found for check in gate.checks} == {"forward", "trajectory"}
    planned = filmgate.plan(wish(root, profile="balanced"))
    assert planned.acceleration.gates[0] in {gate.id for gate in found}
    assert planned.pass_counts.computed < planned.pass_counts.total
    assert filmgate.plan(wish(root)).acceleration.work == ()

    events = list(filmgate.render(planned, tmp_path / "clip.mp4"))
    assert isinstance(events[-1], Done)
    take = read_take(tmp_path / "clip.json")
    assert take.plan.acceleration.gates == planned.acceleration.gates, "the manifest names what it relied on"
    assert take.passes == planned.pass_counts
    assert read_take(tmp_path / "clip.mp4").plan_sha256 == planned.fingerprint
    told = [event.work for event in events if isinstance(event, Progress) and event.stage == "denoise"]
    assert tuple(told) == planned.acceleration.work


def test_other_weights_are_not_what_was_measured(filmgate, root, tmp_path):
    list(filmgate.gate(wish(root), "balanced", prompts=2))
    other = tiny_wan_directory(
        tmp_path / "other", folders={"high_noise_model": 1, "low_noise_model": 7}, sidecar=SIDECAR
    )
    made = filmgate.plan(wish(other, profile="balanced"))
    assert not made.acceleration.recipe
    reasons = {choice.reason for choice in made.acceleration.considered}
    assert "no gate was measured of these weights: `filmgate gate` does" in reasons
    assert filmgate.plan(wish(root, profile="balanced")).acceleration.recipe


def test_without_calibration_magcache_is_left_out(filmgate, root):
    items = list(filmgate.gate(wish(root), "balanced", prompts=2))
    found = last_of(items, Gate)
    assert "MagCache" in items[0].note
    assert "not calibrated for this, `filmgate calibrate` does" in items[0].note
    kinds = {use.acceleration.kind for gate in found for use in gate.recipe}
    assert kinds == {"taylorseer", "guidance_reuse"}


def test_measured_again_it_is_replaced(filmgate, root, tmp_path):
    for _ in range(2):
        list(filmgate.calibrate(wish(root), prompts=1))
        list(filmgate.gate(wish(root), "fast", prompts=2))
    assert len(list((tmp_path / "cache" / "calibrations").iterdir())) == 1
    gates_of = [json.loads(path.read_text()) for path in (tmp_path / "cache" / "gates").iterdir()]
    recipes = [json.dumps(gate["recipe"]) for gate in gates_of]
    assert len(recipes) == len(set(recipes)) > 1


def stored(tmp_path):
    return [Gate.model_validate_json(path.read_text()) for path in (tmp_path / "cache" / "gates").iterdir()]


def test_one_prompt_measures_something_and_switches_nothing_on(filmgate, root, tmp_path):
    found = last_of(filmgate.gate(wish(root), "balanced", prompts=1), Gate)
    assert {gate.id for gate in found} == {gate.id for gate in stored(tmp_path)}
    assert not any(gate.passed for gate in found)
    assert all("on one prompt, which says nothing of others" in gate.reason for gate in found)
    assert not filmgate.plan(wish(root, profile="balanced")).acceleration.recipe


def test_a_weaker_gate_does_not_take_the_place_of_a_stronger_one(filmgate, root, tmp_path):
    strong = last_of(filmgate.gate(wish(root), "balanced", prompts=2), Gate)
    weak = last_of(filmgate.gate(wish(root), "balanced", prompts=1), Gate)
    assert {gate.id for gate in stored(tmp_path)} == {gate.id for gate in [*strong, *weak]}
    made = filmgate.plan(wish(root, profile="balanced"))
    assert made.acceleration.gates[0] in {gate.id for gate in strong}
    assert any("it rests on fewer prompts or levels" in choice.reason for choice in made.acceleration.considered)
    again = last_of(filmgate.gate(wish(root), "balanced", prompts=3), Gate)
    assert {gate.id for gate in stored(tmp_path)} == {gate.id for gate in again}


def test_a_calibration_of_fewer_prompts_does_not_take_the_place_of_another(filmgate, root, tmp_path):
    for count in (2, 1, 1):
        list(filmgate.calibrate(wish(root), prompts=count))
    paths = (tmp_path / "cache" / "calibrations").iterdir()
    assert sorted(json.loads(path.read_text())["prompts"] for path in paths) == [1, 2]


def test_calibrations_of_other_guidance_lie_beside_each_other(filmgate, root, tmp_path):
    for scale in (3.0, 5.0):
        list(filmgate.calibrate(wish(root, guidance_low=scale), prompts=1))
    assert len(list((tmp_path / "cache" / "calibrations").iterdir())) == 2


def test_what_an_earlier_version_stored_is_read_and_holds_for_nothing(filmgate, root, tmp_path):
    list(filmgate.gate(wish(root), "balanced", prompts=2))
    for path in (tmp_path / "cache" / "gates").iterdir():
        gate = json.loads(path.read_text())
        del gate["work"], gate["scope"]["latent_frames"], gate["scope"]["precision"]
        path.write_text(json.dumps({**gate, "version": 1}))
    made = filmgate.plan(wish(root, profile="balanced"))
    assert not made.acceleration.recipe
    reasons = {choice.reason for choice in made.acceleration.considered}
    assert any("an earlier version, which does not say how long its videos were" in reason for reason in reasons)


def test_videos_are_looked_at_where_somebody_can_read_them(filmgate, root, tmp_path, monkeypatch):
    seen = []

    class Reader:
        prompts = (("a red ball", 1), ("a cube", 2), ("a cone", 3))

        def share(self, number, frames):
            seen.append((number, frames.shape))
            return 0.5

    module = SimpleNamespace(TruthReader=lambda *_: Reader())
    monkeypatch.setattr("filmgate.app.trials._TRUTH", "tests.reader")
    monkeypatch.setitem(__import__("sys").modules, "tests.reader", module)
    found = last_of(filmgate.gate(wish(root), "balanced", prompts=2, readers=tmp_path / "r", clips=3), Gate)
    looked = [gate for gate in found if any(check.level == "truth" for check in gate.checks)]
    assert 1 <= len(looked) <= 2
    assert {number for number, _ in seen} == {0, 1, 2}
    assert len(seen) == 3 * (1 + len(looked))
    assert {shape for _, shape in seen} == {(5, 32, 32, 3)}
    [truth] = [check for check in looked[0].checks if check.name == "truth_points"]
    assert (truth.value, truth.samples) == (0.0, 3)
    assert np.isfinite([check.value for check in looked[0].checks]).all()


@pytest.mark.parametrize("profile", ["plain", "exact"])
def test_profiles_that_skip_nothing_have_no_gates(filmgate, root, profile):
    with pytest.raises(InvalidRequest, match=r"skips nothing.*balanced or fast"):
        next(filmgate.gate(wish(root), profile))


def test_only_text_to_video_is_tried(filmgate, tmp_path):
    with pytest.raises(InvalidRequest, match="not here"):
        next(filmgate.calibrate(Request(prompt="", model="wan2.1-t2v-14b")))


def test_a_file_of_another_version_says_nothing(filmgate, root, tmp_path):
    list(filmgate.gate(wish(root), "balanced", prompts=2))
    for path in (tmp_path / "cache" / "gates").iterdir():
        path.write_text(path.read_text().replace('"recipe"', '"receipt"'))
    made = filmgate.plan(wish(root, profile="balanced"))
    assert {choice.reason for choice in made.acceleration.considered} == {
        "no gate was measured: `filmgate gate` does",
        "no gate was measured: `filmgate calibrate`, then `filmgate gate` do",
        "the same steps as another",
    }


def test_what_lies_beside_a_model_counts_and_what_is_newer_counts_more(filmgate, root, tmp_path):
    list(filmgate.gate(wish(root), "balanced", prompts=2))
    measured = evidence.evidence_for(filmgate.model(str(root)), tmp_path / "cache")
    beside = tmp_path / "beside"
    beside.mkdir()
    shipped = [gate.model_copy(update={"created": "2020-01-01T00:00:00Z", "passed": False}) for gate in measured.gates]
    (beside / "gates.json").write_text(json.dumps([gate.model_dump(mode="json") for gate in shipped]))
    both = evidence.evidence_for(filmgate.model(str(root)), tmp_path / "cache", [beside])
    assert list(both.gates) == [*shipped, *measured.gates]
    alone = evidence.evidence_for(filmgate.model(str(root)), tmp_path / "empty", [beside])
    assert list(alone.gates) == shipped
    assert alone.weights == measured.weights


def test_a_model_of_few_steps_by_default_is_gated_with_all_of_them(tmp_path):
    studio, wish = Filmgate(cache=tmp_path), Request(prompt="a red ball", device="cpu")
    assert len(studio.plan(wish).steps) == 4
    forecast = studio.gate_forecast(wish, "balanced")
    assert forecast.recipes >= 3
    assert forecast.passes > 8 * 2 * 20


@pytest.mark.parametrize("wish", [{"frames": 9}, {"frames": 37}, {"precision": "bf16"}])
def test_the_shipped_gates_hold_for_what_they_were_measured_with(tmp_path, wish):
    made = Filmgate(cache=tmp_path).plan(
        Request(prompt="a red ball", profile="fast", distilled="none", device="cpu", **wish)
    )
    assert not made.acceleration.recipe


def test_the_shipped_gates_are_of_enough_prompts_and_of_what_their_calibration_skips():
    [directory] = [path for path in shipped_directories() if path.name == "toybox-t2v"]
    shipped = [Gate.model_validate(one) for one in json.loads((directory / "gates.json").read_text())]
    assert {(gate.version, gate.scope.latent_frames, gate.scope.precision) for gate in shipped} == {(2, 9, "fp32")}
    assert all(gate.work for gate in shipped)
    assert {gates.too_few(gate.checks) for gate in shipped if gate.passed} == {""}
    looked_at = [gate.profile for gate in shipped if gate.passed and any(c.level == "truth" for c in gate.checks)]
    assert sorted(looked_at) == ["balanced", "fast"], "what saves most was compared as videos"


@pytest.mark.parametrize(("profile", "saved"), [("balanced", 8), ("fast", 10)])
def test_the_shipped_model_comes_with_gates(tmp_path, profile, saved):
    made = Filmgate(cache=tmp_path).plan(Request(prompt="a red ball", profile=profile, distilled="none", device="cpu"))
    counts = made.pass_counts
    assert counts.total - counts.computed == saved
    assert {use.expert for use in made.acceleration.recipe} == {"low_noise"}


def notes_of(items):
    return [item.note for item in items if isinstance(item, Progress) and item.note]


def counted_walks(monkeypatch):
    """Names of the walks that are made from now on."""
    made = []
    for name in ("walk_exact", "walk_recipe"):
        make = getattr(trials, name)
        monkeypatch.setattr(
            trials, name, lambda *args, _name=name, _make=make, **how: made.append(_name) or _make(*args, **how)
        )
    return made


def test_each_reason_why_recipes_are_not_tried_is_told_once(filmgate, root):
    told = notes_of(filmgate.gate(wish(root), "balanced", prompts=1))
    [note] = [text for text in told if "filmgate calibrate" in text]
    assert note == "not tried: 4 recipes with MagCache: not calibrated for this, `filmgate calibrate` does"


def test_on_a_gpu_without_the_package_the_other_recipes_are_gated(filmgate, root, monkeypatch):
    """As far as a CPU can tell: recipes as on a GPU, and the check of the kernels as it fails there."""
    light = (AccelerationUse(expert="low_noise", acceleration=EightBit()),)
    usual = acceleration.recipes
    monkeypatch.setattr(acceleration, "recipes", lambda *wanted: (light, *usual(*wanted)))

    def check(*_, **__):
        raise DeviceError("attention by blocks needs nvidia-cudnn-frontend, which is not installed")

    monkeypatch.setattr("filmgate.engine.pipeline.speed.check_block_attention", check)
    made = counted_walks(monkeypatch)
    run = filmgate.gate(wish(root), "balanced", prompts=1)
    first = next(run)
    assert not made, "it is known before the first walk"
    items = [first, *run]
    [note] = [text for text in notes_of(items) if "nvidia-cudnn-frontend" in text]
    assert note.startswith("not tried: products and attention in eight bits, in low-noise: attention by blocks needs")
    found = last_of(items, Gate)
    assert found
    assert all(light != gate.recipe for gate in found)


def test_gates_are_stored_as_soon_as_their_recipe_is_measured(filmgate, root, tmp_path):
    run = filmgate.gate(wish(root), "balanced", prompts=2)
    first = next(item for item in run if isinstance(item, Gate))
    assert [path.stem for path in (tmp_path / "cache" / "gates").iterdir()] == [first.id]
    assert filmgate.place_of(first).is_file()
    later = list(run)
    assert isinstance(later[0], Progress), "others are still walked"
    assert last_of(later, Gate)


def test_a_killed_gate_goes_on_where_it_was(filmgate, root, tmp_path, monkeypatch):
    whole = last_of(Filmgate(cache=tmp_path / "other").gate(wish(root), "balanced", prompts=2), Gate)
    made = counted_walks(monkeypatch)
    run = filmgate.gate(wish(root), "balanced", prompts=2)
    while made.count("walk_exact") < 2:
        next(run)
    run.close()
    made.clear()
    forecast = filmgate.gate_forecast(wish(root), "balanced", prompts=2)
    assert forecast.measured == forecast.recipes == len(whole)
    items = list(filmgate.gate(wish(root), "balanced", prompts=2))
    assert f"an unfinished gate goes on, {len(whole)} of {2 * len(whole)} walks are measured" in "".join(
        notes_of(items)
    )
    assert made == ["walk_exact"] + ["walk_recipe"] * len(whole)
    assert [gate.checks for gate in last_of(items, Gate)] == [gate.checks for gate in whole]
    assert not (tmp_path / "cache" / "trials").exists(), "what is finished is thrown away"


def test_a_killed_calibration_goes_on_where_it_was(filmgate, root, monkeypatch, tmp_path):
    [whole] = last_of(Filmgate(cache=tmp_path / "other").calibrate(wish(root), prompts=2), Calibration)
    made = counted_walks(monkeypatch)
    run = filmgate.calibrate(wish(root), prompts=2)
    while len(made) < 2:
        next(run)
    run.close()
    made.clear()
    items = list(filmgate.calibrate(wish(root), prompts=2))
    assert notes_of(items) == ["an unfinished calibration goes on: 1 of 2 prompts are measured"]
    assert made == ["walk_exact"]
    assert items[-1].ratios == whole.ratios


def test_a_forecast_counts_the_passes_that_are_made(filmgate, root, monkeypatch):
    forecast = filmgate.gate_forecast(wish(root), "balanced", prompts=2)
    assert forecast.seconds > 0
    counted = []
    step = trials._Meter.step
    monkeypatch.setattr(trials._Meter, "step", lambda self, passes: counted.append(passes) or step(self, passes))
    found = last_of(filmgate.gate(wish(root), "balanced", prompts=2), Gate)
    assert sum(counted) == forecast.passes
    assert (forecast.prompts, forecast.recipes) == (2, len(found))
    assert (forecast.clips, forecast.clip_passes) == (0, 0)
    looked = filmgate.gate_forecast(wish(root), "balanced", prompts=2, readers=Path("a reader"), clips=5)
    assert looked.passes == forecast.passes
    assert looked.clip_passes > 5 * filmgate.plan(wish(root)).pass_counts.total


def test_videos_that_were_compared_are_not_painted_again(filmgate, root, tmp_path, monkeypatch):
    class Reader:
        prompts = (("a red ball", 1), ("a cube", 2), ("a cone", 3))

        def share(self, number, frames):
            del frames
            if kill and number == 2:
                raise KeyboardInterrupt
            return 0.25 * number

    module = SimpleNamespace(TruthReader=lambda *_: Reader())
    monkeypatch.setattr("filmgate.app.trials._TRUTH", "tests.reader")
    monkeypatch.setitem(__import__("sys").modules, "tests.reader", module)
    options = {"prompts": 2, "readers": tmp_path / "r", "clips": 3}
    kill = False
    whole = last_of(Filmgate(cache=tmp_path / "other").gate(wish(root), "balanced", **options), Gate)
    kill = True
    with pytest.raises(KeyboardInterrupt):
        list(filmgate.gate(wish(root), "balanced", **options))
    kill = False
    made = counted_walks(monkeypatch)
    items = list(filmgate.gate(wish(root), "balanced", **options))
    assert "2 of 3 videos were compared before" in notes_of(items)
    assert made == ["walk_exact", "walk_recipe", "walk_recipe"]
    assert {gate.recipe: gate.checks for gate in last_of(items, Gate)} == {gate.recipe: gate.checks for gate in whole}
    assert not (tmp_path / "cache" / "trials").exists()
