"""What devices exchange by the formula, and what our networks really send; and the time that a plan makes of it."""

import pytest
import torch
from tests.direction.living import attend, nobody_answers, shapes_only, team_of
from tests.direction.models import CPU, H200, model_of, tiny_pair, words

from filmgate.direction.devices import PROFILES, profile_named, speed_of
from filmgate.direction.estimate import (
    compute_seconds,
    estimate_seconds,
    exchanged_seconds,
    forward_seconds,
    gathered_bytes,
    tile_count,
)
from filmgate.direction.exchange import exchange_of, exchange_seconds
from filmgate.direction.planner import plan
from filmgate.direction.workload import workload_of
from filmgate.engine.checkpoints.wan import DTYPES
from filmgate.engine.kernels.tiling import spans
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.parallel import parallel_transformer
from filmgate.spec import DitDimensions, Layout, Request, ResidencyPlan

A14B, SMALL = "wan2.2-t2v-a14b", "wan2.1-t2v-1.3b"
ONE = ResidencyPlan()


def load_of(model, device, layout, **wishes):
    planned = plan(Request(prompt="a red ball", **wishes), model, device, words)
    return workload_of(planned, 20)._replace(layout=layout)


def sent_by(load):
    """Bytes that the first device sends in a pass of our transformer, for one text."""
    dit, latent = load.model.dit, load.latent
    config = DitConfig(
        dim=dit.dim, ffn_dim=dit.ffn_dim, num_heads=dit.heads, num_layers=dit.layers, text_dim=dit.text_dim
    )
    with torch.device("meta"):
        network = WanDiT(config, attend).to(DTYPES[load.precision])
    parallel_transformer(network, team_of(load.layout, dit.heads))
    texts = 2 if load.batched else 1
    with nobody_answers() as sent, shapes_only():
        text = torch.empty(texts, 7, dit.text_dim, device="meta", dtype=DTYPES[load.precision])
        cache = network.text_keys_values(text)
        x = torch.empty(1, 16, latent.frames, latent.height, latent.width, device="meta")
        network(x, torch.empty(1, device="meta"), text_cache=cache)
    return sum(sent)


@pytest.mark.parametrize(
    "layout", [Layout(sequence=2), Layout(sequence=4), Layout(cfg=2), Layout(cfg=2, sequence=4), Layout(sequence=8)]
)
def test_bytes_are_those_that_our_transformer_sends(layout):
    """By heads (4 of them), and by heads and in a ring (8 devices). A device has one text: two in one batch share the
    first attention."""
    load = load_of(tiny_pair(), CPU, layout, width=160, height=96, frames=33)._replace(texts=layout.cfg)
    assert load.tokens == 540
    # What closes the pass goes in parts that are filled up to the longest.
    assert exchange_of(load).sent == pytest.approx(sent_by(load), rel=0.02)


def test_one_device_exchanges_nothing():
    load = load_of(model_of(A14B), H200, Layout())
    assert exchange_of(load) == (0.0, 0.0, 0, 0.0)
    assert exchanged_seconds(load) == 0.0
    assert estimate_seconds(load, ONE).exchange == 0.0


def test_two_texts_hardly_talk():
    alone, texts, tokens = (
        load_of(model_of(A14B), H200, layout) for layout in (Layout(), Layout(cfg=2), Layout(sequence=2))
    )
    assert exchange_of(texts).sent < exchange_of(tokens).sent / 100
    times = [estimate_seconds(load, ONE) for load in (alone, texts, tokens)]
    assert times[0].denoise / 2 == pytest.approx(times[1].denoise, rel=0.01)
    assert times[1].denoise < times[2].denoise
    assert times[1].forward == pytest.approx(times[0].forward / 2, rel=0.01)


def test_the_longest_part_counts():
    load = load_of(tiny_pair(), H200, Layout(sequence=7), width=160, height=96, frames=33)
    assert load.own_tokens == 78 > load.tokens / 7
    alone = load._replace(layout=Layout())
    # So small a network takes as long as its operators take to be started, on however many devices.
    assert compute_seconds(load) == compute_seconds(alone)


@pytest.mark.parametrize("name", ["h100", "a100-80", "l40s", "rtx4090"])
@pytest.mark.parametrize(
    "layout", [Layout(sequence=2), Layout(cfg=2, sequence=2), Layout(sequence=8), Layout(sequence=3)]
)
def test_together_they_are_faster_but_never_by_more_than_their_number(name, layout):
    device = profile_named(name).description.model_copy(update={"memory_bytes": 0})
    load = load_of(model_of(A14B), device, layout)
    alone, together = (estimate_seconds(one, ONE) for one in (load._replace(layout=Layout()), load))
    assert 1.0 < alone.denoise / together.denoise <= layout.ranks
    assert 1.0 < alone.decode / together.decode <= layout.ranks
    assert together.load == alone.load
    assert together.encode == alone.encode
    assert 0 < together.exchange < together.denoise


def test_a_slow_link_costs_more_than_a_fast_one():
    shared = [
        load_of(model_of(A14B), profile_named(name).description, Layout(sequence=4)) for name in ("h100", "h100-pcie")
    ]
    fast, slow = (estimate_seconds(load, ONE).exchange for load in shared)
    assert slow > 4 * fast


def test_a_ring_hides_behind_attention():
    load = load_of(model_of(A14B), H200, Layout(sequence=3))
    work, speed = exchange_of(load), speed_of(H200, "bf16")
    assert work.hidden / work.sent > 0.99
    hidden, bare = (exchange_seconds(load, speed, attending) for attending in (1e9, 0.0))
    assert bare - hidden == pytest.approx(work.hidden / speed.link)


@pytest.mark.parametrize("ranks", [3, 11, 41])
def test_what_goes_round_and_parts_of_blocks_do_not_use_the_link_at_the_same_time(ranks):
    load = load_of(model_of(A14B), profile_named("rtx4090").description, Layout(sequence=ranks))
    parts = ResidencyPlan(mode="sharded")
    bytes_of_pass = exchange_of(load).sent + gathered_bytes(load, parts)
    assert forward_seconds(load, parts) >= bytes_of_pass / speed_of(load.device, load.precision).link


def test_processes_of_one_cpu_gain_nothing():
    load = load_of(tiny_pair(), CPU, Layout(sequence=2), width=160, height=96, frames=33)
    alone, together = (estimate_seconds(one, ONE) for one in (load._replace(layout=Layout()), load))
    assert together.denoise > alone.denoise
    assert together.decode == alone.decode


def test_every_profile_with_more_than_one_has_a_link():
    for profile in PROFILES:
        assert (profile.link > 0) == (profile.kind == "cuda"), profile.name
    links = [profile_named(name).link for name in ("b200", "h100", "h100-pcie", "rtx5090", "rtx4090")]
    assert links == sorted(links, reverse=True)


def test_a_plan_says_what_each_device_needs():
    request = Request(prompt="a red ball")
    one, four = (plan(request.model_copy(update={"gpus": gpus}), model_of(A14B), H200, words) for gpus in (None, 4))
    assert four.layout == Layout(cfg=2, sequence=2)
    assert four.memory.weights == one.memory.weights
    assert four.memory.vae < one.memory.vae / 3
    assert four.memory.activations < one.memory.activations
    assert 3 < one.times.denoise / four.times.denoise < 4
    assert four.times.exchange > 0
    small = model_of(SMALL, dit=DitDimensions(**{**dict(model_of(SMALL).dit), "heads": 12}))
    shared = plan(Request(prompt="a red ball", gpus=3, guidance_low=1.0), small, H200, words)
    assert shared.layout == Layout(sequence=3)


def test_the_vae_is_divided_by_rows_or_by_tiles_for_reading_too():
    load = load_of(model_of(A14B), H200, Layout(sequence=4), width=1280, height=720)._replace(encoded_frames=81)
    alone = load._replace(layout=Layout())
    tiles = ResidencyPlan(vae_tile=256)
    assert tile_count(load, ONE) == 1
    assert tile_count(load, tiles) == 4 * 7 == len(spans(90, 32, 8)) * len(spans(160, 32, 8))
    for residency, gain in ((ONE, 4 * 0.85 * 90 / 92), (tiles, 4.0)):
        one, four = (estimate_seconds(each, residency) for each in (alone, load))
        assert one.decode / four.decode == pytest.approx(gain, rel=1e-6)
        # The text encoder works on the first device.
        text = estimate_seconds(alone._replace(encoded_frames=0), residency).encode
        assert (one.encode - text) / (four.encode - text) == pytest.approx(gain, rel=1e-6)
    low = load_of(model_of(A14B), H200, Layout(sequence=4), width=832, height=16)
    assert estimate_seconds(low, ONE).decode == estimate_seconds(low._replace(layout=Layout()), ONE).decode
