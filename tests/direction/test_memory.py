"""The formulas of memory against our own networks, run on shapes."""

import pytest
import torch
from tests.direction.living import Living, attend, group_of, nobody_answers, shapes_only, team_of
from tests.direction.models import CPU, H200, model_of, tiny_pair, words
from tests.takes import make_plan

from filmgate.direction.calibration import Machine
from filmgate.direction.memory import (
    DRIVER,
    EXCHANGE_BUFFERS,
    activations,
    beside_torch,
    carried,
    estimate_memory,
    transformer_of,
    vae_work,
)
from filmgate.direction.planner import plan
from filmgate.direction.workload import Workload, workload_of
from filmgate.engine.checkpoints.wan import DTYPES, FP32_MODULES
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import WAN21_VAE, WAN22_VAE
from filmgate.engine.pipeline.parallel_vae import parallel_vae
from filmgate.engine.pipeline.speed import TRANSFORMER
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.spec import Layout, Request, ResidencyPlan, SpeedPlan, VideoShape

A14B, SMALL, TI2V = "wan2.2-t2v-a14b", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"
LAYERS = 2
PLAIN = ResidencyPlan()
EXACT = SpeedPlan(profile="exact")


def load_of(variant, width, height, frames, **changes):
    model = model_of(variant)
    video = VideoShape(width=width, height=height, frames=frames)
    fields = {
        "model": model, "device": CPU, "video": video, "latent": model.compression.latent(video),
        "steps": make_plan().steps if changes.get("texts") == 2 else (),
        "precision": "bf16", "operation": "t2v", "text_tokens": 20, "texts": 1, **changes,
    }  # fmt: skip
    return Workload(**fields)


def with_branch(load):
    dit = load.model.dit.model_copy(update={"branch_layers": 8})
    return load._replace(model=load.model.model_copy(update={"dit": dit}))


def counted(load, texts=1):
    """Peak bytes of one pass over true shapes with two blocks, and what the keys and values of its texts are; on the
    first of the devices that share it."""
    dit, latent = load.model.dit, load.latent
    branch = (0, 1) if dit.branch_layers else ()
    config = DitConfig(
        dim=dit.dim, ffn_dim=dit.ffn_dim, num_heads=dit.heads, num_layers=LAYERS, in_dim=dit.in_channels,
        out_dim=dit.out_channels, per_token_timestep=load.clocked_tokens, vace_layers=branch,
    )  # fmt: skip
    with torch.device("meta"):
        network = WanDiT(config, attend)
    for name, parameter in network.named_parameters():
        if not FP32_MODULES.search(name):
            parameter.data = parameter.data.to(DTYPES[load.precision])
    shape = (1, dit.in_channels, latent.frames, latent.height, latent.width)
    if load.clocked_tokens:
        embedded = torch.empty(2, dit.dim, device="meta"), torch.empty(2, 6, dit.dim, device="meta")
        rows = torch.empty(1, load.tokens, device="meta", dtype=torch.long)
        network.embed_timestep = lambda _: (*embedded, rows)
    forward = fused_block if load.speed.profile == "exact" else None
    prepare(network, Choices(forward=forward, team=team_of(load.layout, dit.heads)), TRANSFORMER)
    with nobody_answers(), shapes_only(), Living(network) as living:
        x = torch.empty(shape, device="meta")
        clock = torch.empty((1, load.tokens) if load.clocked_tokens else (1,), device="meta")
        text = torch.empty(texts, dit.text_len, dit.text_dim, device="meta", dtype=DTYPES[load.precision])
        cache = network.text_keys_values(text)
        control = torch.empty(1, config.vace_in_dim, *shape[2:], device="meta") if branch else None
        before = living.now
        living.peak = 0
        network(x, clock, text_cache=cache, control=control)
    return living.peak - before


@pytest.mark.parametrize(
    ("load", "texts"),
    [
        (load_of(A14B, 1280, 720, 81), 1),
        (load_of(A14B, 832, 480, 81), 1),
        (load_of(TI2V, 1280, 704, 121), 1),
        (load_of(SMALL, 832, 480, 81), 1),
        (load_of(SMALL, 832, 480, 81, precision="fp32"), 1),
        (load_of(A14B, 832, 480, 81, precision="fp32"), 1),
        (load_of(TI2V, 1280, 704, 121, operation="i2v"), 1),
        (with_branch(load_of(A14B, 832, 480, 81)), 1),
        (load_of(SMALL, 832, 480, 17, texts=2), 2),
        (load_of(A14B, 1280, 720, 81, speed=EXACT), 1),
        (load_of(TI2V, 1280, 704, 121, speed=EXACT), 1),
        (load_of(SMALL, 832, 480, 81, speed=EXACT), 1),
        (load_of(SMALL, 832, 480, 81, precision="fp32", speed=EXACT), 1),
        (load_of(TI2V, 1280, 704, 121, operation="i2v", speed=EXACT), 1),
        (with_branch(load_of(A14B, 832, 480, 81, speed=EXACT)), 1),
        (load_of(SMALL, 832, 480, 17, texts=2, speed=EXACT), 2),
    ],
)
def test_activations_are_what_our_transformer_keeps(load, texts):
    assert load.paired == (texts == 2)
    assert activations(load) - carried(load) == pytest.approx(counted(load, texts), rel=0.03)


ALONE = [
    load_of(A14B, 1280, 720, 81),
    load_of(A14B, 1280, 720, 81, speed=EXACT),
    load_of(A14B, 832, 480, 81, precision="fp32", speed=EXACT),
    load_of(TI2V, 1280, 704, 121, operation="i2v"),
    load_of(TI2V, 1280, 704, 121, operation="i2v", speed=EXACT),
    load_of(SMALL, 832, 480, 17, texts=2, speed=EXACT),
    with_branch(load_of(A14B, 832, 480, 81, speed=EXACT)),
]


@pytest.mark.parametrize("load", ALONE)
@pytest.mark.parametrize("layout", [Layout(sequence=2), Layout(cfg=2, sequence=2), Layout(sequence=4)], ids=str)
def test_activations_of_one_of_several_devices(load, layout):
    shared = load._replace(layout=layout)
    texts = load.texts if layout.cfg == 1 else 2
    assert activations(shared) - carried(shared) == pytest.approx(counted(shared, texts), rel=0.03)
    assert activations(shared) - carried(shared) < activations(load) - carried(load)


@pytest.mark.parametrize("load", ALONE[:3])
@pytest.mark.parametrize("count", [3, 6])
def test_activations_in_a_ring(load, count):
    shared = load._replace(layout=Layout(sequence=count))
    assert activations(shared) - carried(shared) == pytest.approx(counted(shared), rel=0.06)


def test_devices_that_read_a_text_each_keep_both():
    load = load_of(A14B, 1280, 720, 81, texts=2)
    shared = load._replace(layout=Layout(cfg=2))
    assert not load.paired
    assert not shared.paired
    assert carried(shared) - carried(load) == 2 * 2 * 40 * 512 * 5120, "the prompt alone too, for steps with one text"
    small = load_of(SMALL, 832, 480, 17, texts=2)
    assert small.paired
    assert not small._replace(layout=Layout(cfg=2)).paired


def test_what_is_carried_from_pass_to_pass():
    load = load_of(A14B, 1280, 720, 81)
    texts = 2 * 2 * 40 * 512 * 5120
    latents = carried(load) - texts
    assert latents % (4 * 16 * 21 * 90 * 160) == 0
    assert carried(load._replace(texts=2)) - carried(load) == texts
    assert carried(load._replace(device=H200)) > carried(load)


def test_the_rays_of_a_camera_stay_to_the_end():
    load = load_of(TI2V, 1280, 704, 81)
    camera = load._replace(model=load.model.model_copy(update={"task": "camera"}))
    rays = 24 * 21 * 704 * 1280 * 4
    assert carried(camera) - carried(load) == rays
    assert estimate_memory(camera, PLAIN).peak - estimate_memory(load, PLAIN).peak == rays


@pytest.mark.parametrize("height", [480, 720])
@pytest.mark.parametrize(("config", "variant"), [(WAN21_VAE, A14B), (WAN22_VAE, TI2V)])
@pytest.mark.parametrize("encoder", [False, True])
def test_the_work_of_the_vae_is_what_ours_keeps(config, variant, height, encoder):
    height = height // 32 * 32
    with torch.device("meta"):
        network = WanVae(config)
    factor = config.spatial_factor
    with torch.no_grad(), Living(network) as living:
        if encoder:
            video = torch.empty(1, 3, 13, height, 640, device="meta")
            living.now = living.peak = 0
            chunks = network.encode_chunks(video)
        else:
            latent = torch.empty(1, config.z_dim, 3, height // factor, 640 // factor, device="meta")
            chunks = network.decode_chunks(latent)
        for _ in chunks:
            pass
    found = vae_work(load_of(variant, 640, height, 81), PLAIN, encoder=encoder)
    assert found == pytest.approx(living.peak, rel=0.03)


@pytest.mark.parametrize(("config", "variant"), [(WAN21_VAE, A14B), (WAN22_VAE, TI2V)])
@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("encoder", [False, True])
def test_the_work_of_the_vae_on_one_of_several_devices(config, variant, count, encoder):
    """The second of them, which has neighbours on both sides, where there are so many."""
    with torch.device("meta"):
        network = parallel_vae(WanVae(config), group_of(count, 1))
    with nobody_answers(), torch.no_grad(), Living(network) as living:
        if encoder:
            video = torch.empty(1, 3, 13, 704, 640, device="meta")
            living.now = living.peak = 0
            chunks = network.encode_chunks(video)
        else:
            latent = torch.empty(1, config.z_dim, 3, 704 // config.spatial_factor, 640 // config.spatial_factor)
            chunks = network.decode_chunks(latent.to("meta"))
        for _ in chunks:
            pass
    load = load_of(variant, 640, 704, 81, layout=Layout(sequence=count))
    assert vae_work(load, PLAIN, encoder=encoder) == pytest.approx(living.peak, rel=0.045)
    tiles, whole = ResidencyPlan(vae_tile=256), load._replace(layout=Layout())
    assert vae_work(load, tiles) == vae_work(whole, tiles), "as large on each"


def test_what_torch_does_not_count():
    load = load_of(A14B, 1280, 720, 81, device=H200)
    shared = load._replace(layout=Layout(cfg=2))
    assert beside_torch(load) == DRIVER["cuda"]
    assert beside_torch(shared) == DRIVER["cuda"] + EXCHANGE_BUFFERS
    assert beside_torch(shared._replace(device=CPU)) == DRIVER["cpu"]


def test_fewer_rows_than_devices_are_not_divided():
    load = load_of(A14B, 832, 32, 81)
    assert vae_work(load._replace(layout=Layout(sequence=8)), PLAIN) == vae_work(load, PLAIN)


def test_the_host_has_all_processes():
    planned, _ = needs(model_of(A14B), H200)
    load = workload_of(planned, 20)
    shared = load._replace(layout=Layout(cfg=2, sequence=2))
    for residency in (PLAIN, ResidencyPlan(mode="streamed"), ResidencyPlan(vae_tile=256)):
        assert estimate_memory(shared, residency).host == 4 * estimate_memory(load, residency).host
    beside = ResidencyPlan(text_encoder="cpu")
    assert estimate_memory(shared, beside).host == 4 * estimate_memory(load, PLAIN).host + 2 * 5_680_910_336


def test_tiles_bound_the_work_of_the_vae():
    load = load_of(A14B, 1280, 720, 81)
    whole, tiled = (vae_work(load, ResidencyPlan(vae_tile=tile)) for tile in (None, 256))
    assert tiled < 0.12 * whole
    assert vae_work(load, ResidencyPlan(vae_tile=1280)) == whole


def test_weights_of_an_expert_are_those_of_the_loader():
    load = load_of(A14B, 1280, 720, 81)
    config = DitConfig(dim=5120, ffn_dim=13824, num_heads=40, num_layers=40)
    with torch.device("meta"):
        network = WanDiT(config, attend)
    sizes = {
        name: parameter.numel() * (4 if FP32_MODULES.search(name) else 2)
        for name, parameter in network.named_parameters()
    }
    block = sum(size for name, size in sizes.items() if name.startswith("blocks.0."))
    expert = transformer_of(load, "as_computed")
    assert expert.whole == pytest.approx(sum(sizes.values()), rel=0.001)
    assert expert.block == pytest.approx(block, rel=0.001)
    assert expert.blocks == 40


def test_formats_shrink_the_large_layers_alone():
    load = load_of(A14B, 1280, 720, 81)
    whole, eight, four = (transformer_of(load, weights) for weights in ("bf16", "fp8", "int4"))
    assert whole == transformer_of(load, "as_computed")
    assert whole.outside == eight.outside == four.outside
    assert 0.5 < eight.block / whole.block < 0.51
    assert 0.26 < four.block / whole.block < 0.28
    # The files of this description hold fp32: that is no smaller than what is computed in.
    assert transformer_of(load, "as_stored") == whole


def needs(model, device, **wishes):
    planned = plan(Request(prompt="a red ball", **wishes), model, device, words)
    return planned, planned.memory


def test_memory_of_the_large_model_is_one_expert_and_its_work():
    _, memory = needs(model_of(A14B), H200)
    assert memory.weights == pytest.approx(2 * 14_288_491_584, rel=0.02)
    assert memory.peak == memory.weights + memory.activations
    assert 7e9 < memory.activations < 9e9
    assert memory.vae == pytest.approx(26.1 * 2**30, rel=0.02), "26.104 GiB were measured on an H100"


def test_the_text_encoder_may_be_the_largest():
    _, memory = needs(model_of(SMALL), H200, frames=1, width=480, height=480)
    assert memory.weights == 2 * 5_680_910_336
    assert memory.peak == pytest.approx(memory.weights, rel=0.01)


def test_precision_decides_the_weights():
    _, memory = needs(model_of(A14B), H200, precision="fp32")
    assert memory.weights == pytest.approx(4 * 14_288_491_584, rel=1e-6)


def test_the_small_model_needs_little():
    _, memory = needs(tiny_pair(), CPU)
    assert memory.peak < 300e6
    assert memory.host == 0


def test_a_mode_says_what_is_on_the_device():
    planned, _ = needs(model_of(A14B), H200)
    load = workload_of(planned, 20)
    every, one, few = (
        estimate_memory(load, ResidencyPlan(mode=mode)) for mode in ("resident", "one_expert", "streamed")
    )
    expert = transformer_of(load, "as_computed")
    assert every.peak == 2 * expert.whole + every.vae
    painting = expert.outside + 2 * expert.block + activations(load)
    assert few.peak == max(painting, few.vae)
    assert few.host - one.host == expert.blocks * expert.block
    mapped = estimate_memory(load, ResidencyPlan(mode="streamed", host="mapped"))
    assert mapped.peak == few.peak
    assert mapped.host == one.host
    kept = estimate_memory(load, ResidencyPlan(mode="streamed", kept_blocks=5))
    assert kept.peak >= few.peak
    assert mapped.host - kept.host == -35 * expert.block
    tiled = estimate_memory(load, ResidencyPlan(vae_tile=512))
    assert tiled.host - one.host == 81 * 1280 * 720 * 3 * 4
    narrow = estimate_memory(load, ResidencyPlan(weights="fp8", vae_tile=512))
    assert tiled.peak - narrow.peak == expert.whole - transformer_of(load, "fp8").whole - 2 * 5120 * 13824
    beside = estimate_memory(load, ResidencyPlan(text_encoder="cpu"))
    assert beside.host - one.host == 2 * 5_680_910_336


def test_a_machine_that_is_not_known_has_no_memory():
    assert Machine().host_memory == 0
