"""Words for numbers."""

import pytest
from tests.takes import make_model, make_plan

from filmgate.cli.text import columns, describe_plan, duration_text, size_text
from filmgate.direction.devices import speed_of
from filmgate.direction.exchange import exchange_of, exchange_seconds
from filmgate.direction.workload import workload_of
from filmgate.spec import InputFile, Layout, MemoryEstimate, ResidencyOption, ResidencyPlan, TimeEstimate, VideoShape


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (25 << 20, "25.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 41, "2.0 TiB"),
    ],
)
def test_bytes(count, text):
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"), (0.0042, "4.2 ms"), (0.00004, "0.04 ms"), (0.01, "0.01 s"),
        (0.214, "0.21 s"), (3.25, "3.2 s"), (12.4, "12 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"), (7800, "2 h 10 min"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_columns_line_up_and_the_last_has_no_trailing_spaces():
    assert columns([("a", "bb", "c"), ("aaa", "b", "")]) == "a    bb  c\naaa  b"


def test_the_peak_is_the_one_of_the_chosen_mode_with_its_parts():
    gib = 1 << 30
    option = ResidencyOption(
        residency=ResidencyPlan(), device_bytes=14 * gib, host_bytes=0, seconds=1.0, fits=True, reason="chosen"
    )
    memory = MemoryEstimate(weights=2 * gib, activations=9 * gib, vae=11 * gib, peak=13 * gib)
    told = describe_plan(make_plan(memory=memory, options=(option,)))
    assert "14.0 GiB at the peak: 2.0 GiB weights, 11.0 GiB work, 1.0 GiB driver and reserve" in told
    assert "9.0 GiB for the transformer's work, 11.0 GiB for the VAE with its own, not at the same time" in told
    assert "13.0 GiB at the peak: 2.0 GiB weights, 11.0 GiB work\n" in describe_plan(make_plan(memory=memory))


def test_what_each_of_several_devices_does_needs_and_exchanges():
    memory = MemoryEstimate(weights=1 << 30, activations=1 << 30, vae=1 << 30, peak=2 << 30)
    times = TimeEstimate(denoise=100.0, exchange=12.0)
    plan = make_plan(memory=memory, times=times, layout=Layout(cfg=2, sequence=2))
    tokens = plan.model.compression.tokens(plan.latent)
    told = describe_plan(plan)
    assert f"each does one of two texts, {-(-tokens // 2)} of {tokens} tokens, 1/4 of the rows of the VAE\n" in told
    assert "2.0 GiB on each at the peak" in told
    assert ", 12 s of it to exchange " in told
    assert "from each at 1 GB/s, an estimate" in told
    tiled = plan.model_copy(update={"residency": ResidencyPlan(vae_tile=24)})
    assert "tokens, 2 of 8 tiles of the VAE\n" in describe_plan(tiled)
    alone = plan.model_copy(update={"residency": ResidencyPlan(vae_tile=64)})
    assert "tokens, all of the VAE's work\n" in describe_plan(alone)
    for word in ("on each", "exchange", "Divided"):
        assert word not in describe_plan(make_plan(memory=memory))


def test_what_goes_round_later_than_attention_ends_counts_as_what_takes_time(monkeypatch):
    memory = MemoryEstimate(weights=1 << 30, activations=1 << 30, vae=1 << 30, peak=2 << 30)
    ring = make_plan(memory=memory, layout=Layout(sequence=5))
    load = workload_of(ring)
    work, speed = exchange_of(load), speed_of(ring.device, ring.precision)
    half = exchange_seconds(load, speed, float("inf")) + work.hidden / 2 / speed.link
    monkeypatch.setattr("filmgate.direction.estimate.exchanged_seconds", lambda _: half)
    seen, late = (size_text(round(load.turns * size)) for size in (work.sent - work.hidden / 2, work.hidden / 2))
    assert f"exchange {seen} from each at 1 GB/s, an estimate; {late} of keys and values go" in describe_plan(ring)


def test_what_moves_while_devices_compute_is_told_apart_from_what_takes_time(monkeypatch):
    """The bytes that are named beside the seconds are those that take them."""
    memory = MemoryEstimate(weights=1 << 30, activations=1 << 30, vae=1 << 30, peak=2 << 30)
    ring = make_plan(memory=memory, times=TimeEstimate(denoise=100.0, exchange=12.0), layout=Layout(sequence=5))
    monkeypatch.setattr(
        "filmgate.direction.estimate.exchanged_seconds",
        lambda load: exchange_seconds(load, speed_of(load.device, load.precision), float("inf")),
    )
    assert exchange_of(workload_of(ring)).reordered == 0  # 5 divides no heads: all goes round
    work, turns = exchange_of(workload_of(ring)), workload_of(ring).turns
    seen, hidden = (size_text(round(turns * size)) for size in (work.sent - work.hidden, work.hidden))
    assert f"12 s of it to exchange {seen} from each at 1 GB/s, an estimate; {hidden} of keys and values go round " in (
        describe_plan(ring)
    )
    parts = ring.model_copy(update={"residency": ResidencyPlan(mode="sharded")})
    assert f"{hidden} of keys and values go round and " in describe_plan(parts)
    assert describe_plan(parts).endswith(" of weights come to each meanwhile")
    four = ring.model.model_copy(update={"dit": ring.model.dit.model_copy(update={"heads": 4})})
    by_heads = describe_plan(ring.model_copy(update={"model": four, "layout": Layout(sequence=2)}))
    assert by_heads.endswith(" from each at 1 GB/s and to put heads in order, an estimate")


def test_blocks_that_every_device_keeps_are_told():
    memory = MemoryEstimate(weights=1 << 30, activations=1 << 30, vae=1 << 30, peak=2 << 30)
    plan = make_plan(memory=memory, layout=Layout(cfg=2, sequence=2), residency=ResidencyPlan(mode="sharded"))
    assert "; it keeps 1/4 of an expert's blocks\n" in describe_plan(plan)
    kept = plan.model_copy(update={"residency": ResidencyPlan(mode="sharded", kept_blocks=1)})
    assert f"; it keeps 1 of an expert's {plan.model.dit.layers} blocks, and 1/4 of the others\n" in describe_plan(kept)


def test_a_model_that_is_not_here_is_marked():
    assert ", not here\n" in describe_plan(make_plan(make_model(path="")))
    assert "not here" not in describe_plan(make_plan())


def test_a_plan_names_its_task_and_its_files():
    image = InputFile(role="last_image", path="/pictures/b.png", sha256="0")
    lines = describe_plan(make_plan(operation="flf2v", inputs=(image,))).splitlines()
    assert "Task        first and last image to video" in lines
    assert "Last image  /pictures/b.png" in lines
    assert "Task      text to video" in describe_plan(make_plan())
    one = describe_plan(make_plan(video=VideoShape(frames=1, width=48, height=32), operation="t2i")).splitlines()
    assert "Video     48x32, one picture" in one
    assert "Task      video to video, strength 0.7" in describe_plan(make_plan(operation="v2v", strength=0.7))
