"""The causal VAEs: published fingerprints, diffusers, streams against whole sequences, memory, statistics, errors."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.golden_fill import fill_parameters, fingerprint, golden_tensor

from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import WAN21_VAE, WAN22_VAE, VaeConfig
from filmgate.engine.models.vae_layers import Memory, memory_bytes
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.spec.errors import InvalidRequest


def plain(z_dim, **fields):
    """A small configuration whose latents are not normalised."""
    return VaeConfig(z_dim=z_dim, latents_mean=(0.0,) * z_dim, latents_std=(1.0,) * z_dim, **fields)


TINY21 = plain(4, dim=8)
TINY22 = plain(6, dim=8, decoder_dim=12, patch=2, level_shortcuts=True)
TOYBOX = VaeConfig(dim=16, dim_mult=(2, 3, 4, 4), num_res_blocks=1)
PLAIN_TOYBOX = plain(16, dim=16, dim_mult=(2, 3, 4, 4), num_res_blocks=1)
TINY = pytest.mark.parametrize("config", [TINY21, TINY22], ids=["2.1", "2.2"])


def build(config, seed=0):
    torch.manual_seed(seed)
    return WanVae(config).eval()


def largest_difference(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()


# ------------------------------------------------------------------------------------------------- against other people

GOLDEN = {  # [mean, rms], [first six, last four], as the original implementation computes them
    ("2.1", "encode"): (
        [0.026356, 0.410421],
        [-0.02941, -0.23323, 0.19236, 0.58345, 0.11869, 0.22172, 0.07989, 0.02971, -0.26815, -0.05945],
    ),
    ("2.1", "decode"): (
        [0.024127, 0.536248],
        [0.43363, 0.30810, 0.04680, -0.04007, 0.07317, -0.13983, -0.44621, -0.55181, -0.38119, -0.50217],
    ),
    ("2.2", "encode"): (
        [0.068501, 0.384507],
        [0.28725, 0.07643, 0.30360, 0.32039, 0.19391, 0.27100, 0.34856, 0.71113, -0.20828, 0.26291],
    ),
    ("2.2", "decode"): (
        [0.060098, 0.491755],
        [0.18960, -0.07424, 0.44965, -0.05072, 0.31787, 0.11239, 0.30115, 0.10702, 0.43829, -0.14274],
    ),
}


@pytest.mark.parametrize(("kind", "config"), [("2.1", TINY21), ("2.2", TINY22)])
@pytest.mark.parametrize("streamed", [False, True])
@torch.no_grad()
def test_golden_vectors(kind, config, streamed):
    vae = fill_parameters(WanVae(config))
    video = golden_tensor("video", (3, 9, 32, 64))[None]
    latent = golden_tensor("latent", (config.z_dim, 3, 32 // config.spatial_factor, 64 // config.spatial_factor))[None]
    encoded = vae.encode(video) if streamed else vae.encode_sequence(video)[0]
    decoded = stream_decode(vae, latent, [1, 1, 1]) if streamed else vae.decode_sequence(latent)
    assert encoded.shape[1:] == latent.shape[1:]
    for action, found in (("encode", encoded), ("decode", decoded)):
        moments, values = GOLDEN[kind, action]
        found_moments, found_values = fingerprint(found)
        assert found_moments == pytest.approx(moments, abs=2e-6)
        assert found_values == pytest.approx(values, abs=1.5e-5)  # printed to 5 digits


RENAMED = (  # original to diffusers, applied in this order
    ("encoder.conv1.", "encoder.conv_in."),
    ("decoder.conv1.", "decoder.conv_in."),
    ("middle.0.", "mid_block.resnets.0."),
    ("middle.1.", "mid_block.attentions.0."),
    ("middle.2.", "mid_block.resnets.1."),
    ("head.0.gamma", "norm_out.gamma"),
    ("head.2.", "conv_out."),
    ("residual.0.gamma", "norm1.gamma"),
    ("residual.2.", "conv1."),
    ("residual.3.gamma", "norm2.gamma"),
    ("residual.6.", "conv2."),
    ("shortcut.", "conv_shortcut."),
)


def diffusers_name(name: str, config: VaeConfig) -> str:
    """Name of the original tensor ``name`` in diffusers' AutoencoderKLWan."""
    if name.startswith(("conv1.", "conv2.")):
        return name.replace("conv1.", "quant_conv.").replace("conv2.", "post_quant_conv.")
    for original, renamed in RENAMED:
        name = name.replace(original, renamed)
    half, stack, *rest = name.split(".")
    if stack not in ("downsamples", "upsamples"):
        return name
    down = stack == "downsamples"
    blocks = config.num_res_blocks + (0 if down else 1)
    if config.level_shortcuts:  # HALF.STACK.level.STACK.index...
        level, _, index, *rest = rest
    elif down:
        return ".".join([half, "down_blocks", *rest])
    else:
        level, index = (str(n) for n in divmod(int(rest[0]), blocks + 1))
        rest = rest[1:]
    if int(index) < blocks:
        place = ["resnets", index]
    elif config.level_shortcuts:
        place = ["downsampler" if down else "upsampler"]
    else:
        place = ["upsamplers", "0"]
    return ".".join([half, "down_blocks" if down else "up_blocks", level, *place, *rest])


def diffusers_twin(vae):
    diffusers = pytest.importorskip("diffusers")
    config = vae.config
    twin = diffusers.AutoencoderKLWan(
        base_dim=config.dim,
        decoder_base_dim=config.decoder_width,
        z_dim=config.z_dim,
        dim_mult=list(config.dim_mult),
        num_res_blocks=config.num_res_blocks,
        temperal_downsample=list(config.temporal_downsample),
        latents_mean=list(config.latents_mean),
        latents_std=list(config.latents_std),
        is_residual=config.level_shortcuts,
        in_channels=config.pixel_channels,
        out_channels=config.pixel_channels,
        patch_size=config.patch if config.patch > 1 else None,
        scale_factor_spatial=config.spatial_factor,
    )
    twin.load_state_dict({diffusers_name(name, config): value for name, value in vae.state_dict().items()})
    return twin.eval()


@pytest.mark.parametrize(
    "config",
    [
        TINY21,
        TINY22,
        plain(16, dim=16, dim_mult=(2, 3, 4, 4), num_res_blocks=1),
        plain(5, dim=6, dim_mult=(1, 3, 2, 1)),
    ],
    ids=["2.1", "2.2", "toybox", "odd"],
)
@torch.no_grad()
def test_equals_diffusers(config):
    vae = build(config)
    twin = diffusers_twin(vae)
    video = torch.rand(2, 3, 13, 32, 48) * 2 - 1
    theirs = twin.encode(video).latent_dist
    mean, log_variance = vae.encode_sequence(video)
    assert largest_difference(mean, theirs.mean) <= 1e-5
    assert largest_difference(log_variance.clamp(-30, 20), theirs.logvar) <= 1e-5
    assert largest_difference(vae.encode(video), theirs.mean) <= 1e-5
    latent = torch.randn(2, config.z_dim, 4, 4, 6)
    expected = twin.decode(latent).sample.clamp(-1, 1)
    assert largest_difference(vae.decode_sequence(latent).clamp(-1, 1), expected) <= 1e-5
    assert largest_difference(vae.decode(latent), expected) <= 1e-5


# ------------------------------------------------------------------------------------------ the stream and the sequence


def stream(half, x: torch.Tensor, sizes: list[int]) -> tuple[list[torch.Tensor], list[Memory]]:
    """Push chunks of ``sizes`` frames through the encoder or the decoder, keeping every memory."""
    memory: Memory = (None,) * half.slots
    outputs, memories = [], []
    for chunk in x.split(sizes, 2):
        y, memory = half(chunk, memory)
        outputs.append(y)
        memories.append(memory)
    return outputs, memories


def stream_decode(vae, latent, sizes):
    outputs, _ = stream(vae.decoder, vae.conv2(latent)[0], sizes)
    return vae._unpatchify(torch.cat(outputs, 2))


SIZES = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@TINY
@settings(max_examples=12, deadline=None)
@given(batch=st.integers(1, 2), height=st.integers(1, 3), width=st.integers(1, 3), sizes=SIZES)
@torch.no_grad()
def test_however_a_video_is_cut_the_stream_equals_the_sequence(config, batch, height, width, sizes):
    vae = build(config)
    latent = torch.randn(batch, config.z_dim, sum(sizes), height, width)
    whole = vae.decode_sequence(latent)
    assert whole.shape[2] == 1 + 4 * (sum(sizes) - 1)
    assert largest_difference(stream_decode(vae, latent, sizes), whole) <= 1e-5
    frames = [1 + 4 * (sizes[0] - 1), *(4 * size for size in sizes[1:])]
    factor = config.spatial_factor
    video = torch.rand(batch, 3, sum(frames), height * factor, width * factor) * 2 - 1
    mean, _ = vae.encode_sequence(video)
    assert mean.shape == latent.shape
    outputs, _ = stream(vae.encoder, vae._patchify(video), frames)
    assert largest_difference(vae.conv1(torch.cat(outputs, 2))[0][:, : config.z_dim], mean) <= 1e-5


@TINY
@torch.no_grad()
def test_chunks_are_one_frame_then_four(config):
    vae = build(config)
    latent = torch.randn(1, config.z_dim, 3, 2, 2)
    chunks = list(vae.decode_chunks(latent))
    assert [chunk.shape[2] for chunk in chunks] == [1, 4, 4]
    assert largest_difference(torch.cat(chunks, 2), vae.decode_sequence(latent).clamp(-1, 1)) <= 1e-5
    video = torch.rand(1, 3, 9, 2 * config.spatial_factor, 2 * config.spatial_factor)
    assert [chunk.shape[2] for chunk in vae.encode_chunks(video)] == [1, 1, 1]


@TINY
@torch.no_grad()
def test_an_image_is_a_video_of_one_frame(config):
    vae = build(config)
    video = torch.rand(1, 3, 9, 32, 32) * 2 - 1
    latent = vae.encode(video)
    alone = vae.encode(video[:, :, :1])
    assert alone.shape[2] == 1
    assert largest_difference(alone, latent[:, :, :1]) <= 1e-6
    decoded = vae.decode(alone)
    assert decoded.shape == (1, 3, 1, 32, 32)
    assert largest_difference(decoded, vae.decode(latent)[:, :, :1]) <= 1e-5


@torch.no_grad()
def test_no_output_depends_on_what_comes_later():
    vae = build(TINY21)
    video = torch.rand(1, 3, 13, 16, 16) * 2 - 1
    changed = video.clone()
    changed[:, :, 9:] *= -1
    latent, other = vae.encode_sequence(video)[0], vae.encode_sequence(changed)[0]
    assert largest_difference(latent[:, :, :3], other[:, :, :3]) <= 1e-5
    assert largest_difference(latent[:, :, 3:], other[:, :, 3:]) > 1e-3
    other[:, :, :3] = latent[:, :, :3]
    frames, later = vae.decode_sequence(latent), vae.decode_sequence(other)
    assert largest_difference(frames[:, :, :9], later[:, :, :9]) <= 1e-5


@torch.no_grad()
def test_the_history_of_the_temporal_upsampling_is_zero_and_not_the_first_frame():
    vae = build(TINY21)
    upsample = next(m for m in vae.decoder.upsamples if getattr(m, "time_conv", None) is not None)
    channels = upsample.time_conv.weight.shape[1]
    x = torch.randn(1, channels, 2, 4, 4)
    _, memory = upsample(x[:, :, :1], (None,))
    assert memory[0].shape == (1, channels, 2, 4, 4)
    assert memory[0].eq(0).all()
    second, _ = upsample(x[:, :, 1:], memory)
    x[:, :, 0] += 1
    assert torch.equal(upsample(x[:, :, 1:], upsample(x[:, :, :1], (None,))[1])[0], second)


# --------------------------------------------------------------------------------------------------------------- memory


@TINY
@torch.no_grad()
def test_what_a_stream_remembers_does_not_grow(config):
    vae = build(config)
    factor = config.spatial_factor
    for half, x, sizes in (
        (vae.decoder, torch.randn(1, config.z_dim, 12, 2, 2), [1] * 12),
        (vae.encoder, vae._patchify(torch.rand(1, 3, 45, 2 * factor, 2 * factor)), [1, *[4] * 11]),
    ):
        _, memories = stream(half, x, sizes)
        kept = [memory_bytes(memory) for memory in memories]
        assert len({*kept}) == 1  # constant from the first chunk on: the histories are two frames even if they are zero
        assert kept[0] > 0
        for frames in memories[-1]:
            # Not a view that would keep the chunk behind it alive.
            assert frames.untyped_storage().nbytes() == frames.nbytes


class LiveBytes(torch.utils._python_dispatch.TorchDispatchMode):
    """Peak number of bytes in storages that operations under it have made and that are still referenced."""

    def __init__(self):
        super().__init__()
        self.live, self.peak, self.held = 0, 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self._hold(tensor)
        self.peak = max(self.peak, self.live)
        return out

    def _hold(self, tensor):
        import weakref

        storage = tensor.untyped_storage()
        key = storage._cdata
        count, size = self.held.get(key, (0, storage.nbytes()))
        self.held[key] = (count + 1, size)
        if count == 0:
            self.live += size
        weakref.finalize(tensor, self._release, key)

    def _release(self, key):
        count, size = self.held.pop(key)
        if count > 1:
            self.held[key] = (count - 1, size)
        else:
            self.live -= size


def decode_peak(vae, frames):
    latent = torch.randn(1, vae.config.z_dim, frames, 4, 4)
    with LiveBytes() as meter:
        for _chunk in vae.decode_chunks(latent):
            pass
    return meter.peak


@torch.no_grad()
def test_peak_memory_of_a_decode_does_not_depend_on_its_length():
    vae = build(TINY21)
    short, long = decode_peak(vae, 4), decode_peak(vae, 16)
    assert short > 100_000
    assert long <= short * 1.001
    with LiveBytes() as meter:
        vae.decode_sequence(torch.randn(1, 4, 16, 4, 4))
    assert meter.peak > 2 * long  # the meter sees what grows


@torch.no_grad()
@pytest.mark.parametrize(
    ("config", "height", "width", "encoder_gb", "decoder_gb"),
    [(WAN21_VAE, 480, 832, 2.21, 3.75), (WAN21_VAE, 720, 1280, 5.11, 8.64), (WAN22_VAE, 704, 1280, 2.09, 6.38)],
    ids=["2.1 480p", "2.1 720p", "2.2 704p"],
)
def test_memory_of_the_real_vaes(config, height, width, encoder_gb, decoder_gb):
    """Cache sizes measured with the original implementation in fp32; ours is built without weights."""
    with torch.device("meta"):
        vae = WanVae(config)
        video = vae._patchify(torch.empty(1, 3, 9, height, width))
        latent = torch.empty(1, config.z_dim, 3, height // config.spatial_factor, width // config.spatial_factor)
    _, encoder = stream(vae.encoder, video, [1, 4, 4])
    _, decoder = stream(vae.decoder, latent, [1, 1, 1])
    # The published numbers leave out the one frame that each temporal downsampling keeps.
    encoder_memory = tuple(frames for frames in encoder[-1] if frames.shape[2] == 2)
    assert memory_bytes(encoder_memory) / 1e9 == pytest.approx(encoder_gb, abs=0.005)
    assert memory_bytes(decoder[-1]) / 1e9 == pytest.approx(decoder_gb, rel=0.01)


# ----------------------------------------------------------------------------------------- training, statistics, errors


def test_counts_of_the_published_checkpoints():
    with torch.device("meta"):
        for config, tensors, parameters in ((WAN21_VAE, 194, 126_892_531), (WAN22_VAE, 196, 704_688_668)):
            state = WanVae(config).state_dict()
            assert len(state) == tensors
            assert sum(tensor.numel() for tensor in state.values()) == parameters


def test_the_sequence_form_trains():
    vae = build(TOYBOX).train()
    mean, log_variance = vae.encode_sequence(torch.rand(2, 3, 5, 16, 24) * 2 - 1)
    (vae.decode_sequence(mean).square().mean() + log_variance.square().mean()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in vae.parameters())


def test_the_sequence_form_compiles_to_one_graph():
    vae = build(plain(2, dim=4, dim_mult=(1, 2), num_res_blocks=1, temporal_downsample=(True,)))
    video = torch.rand(1, 3, 5, 8, 8) * 2 - 1

    def round_trip(clip):
        return vae.decode_sequence(vae.encode_sequence(clip)[0])

    compiled = torch.compile(round_trip, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(video), round_trip(video), rtol=0, atol=1e-6)


@torch.no_grad()
def test_autocast_keeps_the_activations_narrow_and_the_result_close():
    vae = build(TOYBOX)
    video = torch.rand(1, 3, 5, 16, 24) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        narrow, _ = vae.encode_sequence(video)
    wide, _ = vae.encode_sequence(video)
    assert narrow.dtype == torch.bfloat16
    assert largest_difference(narrow.float(), wide) < 0.05 * wide.abs().max().item()
    assert vae.bfloat16().decode(torch.randn(1, 16, 2, 2, 2)).dtype == torch.float32


@torch.no_grad()
def test_memory_format_of_weights_and_input_does_not_matter():
    vae = build(TOYBOX)
    video = torch.rand(1, 3, 5, 16, 24) * 2 - 1
    expected = vae.encode(video)
    for parameter in vae.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    found = vae.encode(video.contiguous(memory_format=torch.channels_last_3d))
    assert largest_difference(found, expected) <= 1e-5


@torch.no_grad()
def test_latents_leave_and_enter_in_the_units_of_the_transformer():
    vae = build(TOYBOX)
    video = torch.rand(1, 3, 5, 16, 24) * 2 - 1
    raw, _ = vae.encode_sequence(video)
    latent = vae.encode(video)
    for channel, (mean, std) in enumerate(zip(TOYBOX.latents_mean, TOYBOX.latents_std, strict=True)):
        torch.testing.assert_close(latent[:, channel], (raw[:, channel] - mean) / std, rtol=0, atol=1e-5)
    torch.testing.assert_close(vae.denormalise(latent), raw, rtol=0, atol=1e-5)
    torch.testing.assert_close(vae.decode(latent), vae.decode_sequence(raw).clamp(-1, 1), rtol=0, atol=1e-5)
    assert not any("mean" in name or "std" in name for name in vae.state_dict())


@torch.no_grad()
def test_what_cannot_be_encoded_or_decoded_says_so():
    vae = build(TOYBOX)
    wrong = {
        (1, 3, 6, 16, 16): ("frames", "5"),
        (1, 3, 5, 20, 16): ("height", "24"),
        (1, 3, 5, 16, 3): ("width", "8"),
        (1, 4, 5, 16, 16): ("video", None),
        (3, 5, 16, 16): ("video", None),
    }
    for shape, (field, nearest) in wrong.items():
        with pytest.raises(InvalidRequest) as caught:
            vae.encode(torch.zeros(shape))
        assert (caught.value.field, caught.value.nearest) == (field, nearest)
    for shape in ((1, 15, 2, 2, 2), (16, 2, 2, 2), (1, 16, 0, 2, 2)):
        with pytest.raises(InvalidRequest, match="latent"):
            vae.decode(torch.zeros(shape))


@torch.no_grad()
def test_a_decode_computes_only_what_is_asked_for(monkeypatch):
    vae = build(TINY21)
    calls = []
    forward = vae.decoder.forward
    monkeypatch.setattr(vae.decoder, "forward", lambda *a: calls.append(1) or forward(*a))
    chunks = vae.decode_chunks(torch.randn(1, 4, 5, 2, 2))
    assert not calls
    for expected, _ in enumerate(itertools.islice(chunks, 2), start=1):
        assert len(calls) == expected


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "config"), [("2.1", TINY21), ("2.2", TINY22)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-5), (torch.float16, 0.02), (torch.bfloat16, 0.1)])
@torch.no_grad()
def test_on_a_gpu_it_is_what_it_is_on_a_cpu(kind, config, dtype, bound):
    vae = fill_parameters(WanVae(config))
    video = golden_tensor("video", (3, 9, 32, 64))[None]
    latent = golden_tensor("latent", (config.z_dim, 3, 32 // config.spatial_factor, 64 // config.spatial_factor))[None]
    encoded, decoded = vae.encode(video), vae.decode(latent)
    vae.to("cuda", dtype)
    prepare(vae, Choices(channels_last=True))
    with repeatable(1):
        found = vae.encode(video.cuda()), vae.decode(latent.cuda())
        again = vae.encode(video.cuda()), vae.decode(latent.cuda())
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
    for one, expected in zip(found, (encoded, decoded), strict=True):
        assert float((one.cpu() - expected).norm() / expected.norm()) < bound
