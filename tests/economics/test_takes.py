"""Takes as measurements: grouped by what belongs together, and used only where they are of the same thing."""

import json

import pytest
from tests.takes import make_model, make_plan, make_take

from filmgate.direction.architectures import describe_published
from filmgate.economics.costs import usable_cost
from filmgate.economics.options import Finance, Workload
from filmgate.economics.prices import shipped
from filmgate.economics.scenario import build
from filmgate.economics.takes import measured_options, read_takes, with_measurements
from filmgate.media.manifest import manifest_text
from filmgate.spec import DeviceDescription, Timings, VideoShape
from filmgate.spec.errors import InvalidRequest

CARD = DeviceDescription(kind="cuda", name="NVIDIA GeForce RTX 4090", memory_bytes=24 << 30)


def timings(total, load=20.0):
    return Timings(load=load, encode=1.0, steps=(1.0,) * 3, decode=2.0, deliver=0.5, total=total)


def plan_5b(steps=50, frames=121, device=CARD):
    sigmas = [1 - number / steps for number in range(steps + 1)]
    video = VideoShape(frames=frames, height=704, width=1280)
    model = describe_published("wan2.2-ti2v-5b")
    return make_plan(model, video=video, sigmas=sigmas, boundary=None, device=device)


def write(folder, name, take):
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(manifest_text(take))
    return path


@pytest.fixture
def folder(tmp_path):
    plan = plan_5b()
    for number, (total, energy) in enumerate(((500.0, 180e3), (520.0, 200e3), (700.0, None))):
        write(tmp_path, f"a/clip{number}", make_take(plan, timings=timings(total), energy_joules=energy, hardware="R"))
    write(tmp_path, "toy", make_take(timings=timings(1.6, 0.5)))
    (tmp_path / "other.json").write_text(json.dumps({"answer": 42}))
    (tmp_path / "list.json").write_text("[1, 2")
    write(tmp_path, "silent", make_take(timings=None))
    return tmp_path


def test_takes_of_one_kind_are_one_measurement(folder):
    found, unusable = read_takes(folder)
    assert [(one.model, one.device, one.count) for one in found] == [
        ("wan2.2-ti2v-5b", "rtx4090", 3),
        ("tiny", "cpu", 1),
    ]
    card, toy = found
    assert (card.seconds, card.load, card.energy) == (500.0, 20.0, 190e3)
    assert card.watts == pytest.approx(190e3 / 520)
    assert (card.width, card.height, card.frames, card.steps) == (1280, 704, 121, 50)
    assert (toy.energy, toy.watts) == (None, None)
    assert [path.rsplit("/", 1)[1] for path in card.files] == ["clip0.json", "clip1.json", "clip2.json"]
    assert len(unusable) == 1
    assert "silent.json" in unusable[0]


def test_a_tiny_model_is_not_taken_for_the_one_whose_architecture_it_has(folder):
    assert make_model().variant == "wan2.2-t2v-a14b"
    assert read_takes(folder)[0][1].model == "tiny"


def test_measurements_take_the_place_of_published_times(folder):
    specs = {"card": "local:wan2.2-ti2v-5b@rtx4090", "rent": "pod:wan2.2-ti2v-5b@rtx4090",
             "other": "pod:wan2.1-t2v-14b@h100"}  # fmt: skip
    before = build(specs, shipped(), Workload(), Finance())
    after = with_measurements(before, read_takes(folder)[0])
    card, rent, other = after.options
    assert (card.attempt.generate, card.attempt.load, rent.attempt.generate) == (500.0, 20.0, 500.0)
    assert card.machine.gpu_watts == pytest.approx(190e3 / 520)
    assert "measured on 3 takes (1280x704x121, 50 steps, 365 W)" in card.basis
    assert other == before.options[2]
    assert usable_cost(after, card).marginal == pytest.approx((190e3 / 520 + 150) / 1000 * 520 / 3600 * 0.17 / 0.75)


@pytest.mark.parametrize(
    ("changes", "workload"),
    [({"steps": 20}, {}), ({"frames": 61}, {}), ({}, {"seconds": 2.5}),
     ({"device": CARD.model_copy(update={"name": "NVIDIA L40S"})}, {})],
)  # fmt: skip
def test_what_is_not_the_same_thing_is_not_used(tmp_path, changes, workload):
    write(tmp_path, "clip", make_take(plan_5b(**changes), timings=timings(100.0)))
    before = build({"card": "local:wan2.2-ti2v-5b@rtx4090"}, shipped(), Workload(**workload), Finance())
    assert with_measurements(before, read_takes(tmp_path)[0]) == before


def test_takes_are_options_of_their_own(folder):
    card, toy = measured_options(read_takes(folder)[0], shipped(), Workload(), ["measured"])
    assert (card.name, toy.name) == ("measured-2", "measured-3")
    assert (card.machine.price, card.machine.owned) == (4000, 0)
    assert (toy.machine.price, toy.machine.owned, toy.machine.gpu_watts, toy.machine.host_watts) == (0, 1, 0, 150)
    assert toy.attempt.generate == pytest.approx(1.1)
    assert card.unlike == ""
    assert toy.unlike == "of 48x32 and 5 frames, not of 720p and 5 s"
    for option in (card, toy):
        option.check()


def test_a_gpu_that_nobody_knows_and_that_measured_nothing(tmp_path):
    odd = CARD.model_copy(update={"name": "NVIDIA Odd"})
    write(tmp_path, "clip", make_take(plan_5b(device=odd), timings=timings(100.0)))
    with pytest.raises(InvalidRequest, match="do not say what the GPU drew"):
        measured_options(read_takes(tmp_path)[0], shipped(), Workload())
    write(tmp_path, "clip", make_take(plan_5b(device=odd), timings=timings(100.0), energy_joules=3e4))
    assert measured_options(read_takes(tmp_path)[0], shipped(), Workload())[0].machine.gpu_watts == pytest.approx(300)


def test_nothing_to_measure_from(tmp_path):
    with pytest.raises(InvalidRequest, match="no manifest"):
        read_takes(tmp_path)
    with pytest.raises(InvalidRequest, match="not a directory"):
        read_takes(tmp_path / "none")
    write(tmp_path, "silent", make_take(timings=None))
    with pytest.raises(InvalidRequest, match="says nothing of its time"):
        read_takes(tmp_path)
