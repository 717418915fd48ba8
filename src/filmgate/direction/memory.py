"""How many bytes a plan needs, by where its networks lie.

Legend: N tokens of the video, S rows of text and image features, D F L width, feed-forward width and blocks of the
transformer (with those of VACE's branch), b bytes of a number, h w pixels.

Everything here was counted on our own networks: every operator of a pass was recorded on shapes alone, and the largest
sum of living tensors taken (a test repeats this). Per token a block needs, at the worst of two moments,

    attention       26·D (b = 2), 28·D (b = 4): the stream and its norm in fp32, q k v, and one of them on its way
                    through norm and rotation
    feed-forward    (14 or 16)·D + 2·b·F

both once more for every text in the batch; with a timestep per token 24·D for the modulation, and 8·D for VACE's
branch. Fused, attention needs (4 + 6·b)·D and the feed-forward network (8 + 2·b)·D + b·F, and a timestep per token
24·D at the head; a camera's rays, while they become features, (4 + b)·D and 48·b per pixel of a token. Beside it lie
the keys and values of all texts, 2·b·L·S·D each. Where devices divide the tokens, each needs this for its own n of N,
but attention then takes (4 + 10·b)·D while heads are exchanged, and (18 + 10·b)·D in a ring, 3·b·D more where both are
done; before that the embedding of all N tokens is there for a moment, b·N·D, and what is per token and does not grow
with D belongs to all of them. The VAE runs in a stream: what it needs grows with h·w and not with
the number of frames, and in half precision is 0.46 of what it is in fp32; for networks of other widths than the
published ones by a power of their parameters, fitted to a small one of about three million. Of rows that devices divide
each works on its own r of a latent and on what it gets of its neighbours: as much as 1.045·r + 0.6 rows need.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from filmgate.direction.workload import Workload
from filmgate.spec.estimates import MemoryEstimate
from filmgate.spec.model import ModelDescription, Precision
from filmgate.spec.residency import ResidencyPlan, WeightFormat

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
_FORMATS: dict[WeightFormat, float] = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.53}
"""Bytes of a weight, scales included."""
_WIDE = 4
_ROTATION = 520
"""Bytes per token beside those that grow with D: cosines and sines, latents in and out."""
_CLOCKED, _CLOCKED_HEAD, _BRANCH = 24, 24, 8
_RAYS, _PATCH = 24, 2
"""Channels of a camera's rays, and latent positions on the side of a token."""
_LATENTS = 12
"""Copies of the latent in fp32: noise, state, its history in the solver, predictions."""
_LIBRARY_WORK = 64 << 20
"""What the library of matrix products keeps."""
_MIB = 1 << 20
DRIVER = {"cuda": 560 * _MIB, "mps": 300 * _MIB, "cpu": 350 * _MIB}
"""What the driver keeps for a process and torch does not count: context and code; on a CPU the interpreter and its
libraries."""
_HOST = 2048 * _MIB
"""The process on the host: interpreter, libraries and what is being read."""
_TEXT_OUTSIDE, _TEXT_BLOCK = 0.19, 0.034
"""Parts of the text encoder: its table of words, and one of its blocks."""
_TEXT_WORK = 300_000
"""Bytes per token of text at two bytes a number, scores of the attention included."""
_WORKSPACE = 1.15
"""What convolutions on a GPU take beside their numbers: with cuDNN on H100 and H200 the VAE of Wan 2.1 needed 1.155
times what was counted (480p and 720p), that of Wan 2.2 1.128 times, whole and in tiles."""
_HALF = 0.46
"""What a VAE in half precision works on, as a part of what it works on in fp32: activations are half as large, and of
their norms there is only one copy. Measured on an H200: 0.446 (Wan 2.1), 0.457 (Wan 2.2)."""
_OTHER_SIZES = 0.38
"""Exponent of the parameters by which the memory of other VAEs differs."""
_OWN_ROWS, _HALO_ROWS = 1.045, 0.6
"""See the module: copies beside neighbours' rows, and these rows. Counted on both published VAEs at 704 rows, by
2, 4 and 8."""
EXCHANGE_BUFFERS = 1 << 30
"""What NCCL keeps on a GPU to talk to others, which torch does not count either. Not measured here: a guess."""
_OUTPUT_CHUNK = 100
"""Bytes per pixel of a chunk of frames that tiles are blended into."""


class Coder(NamedTuple):
    """A published VAE: parameters, and bytes per pixel of its decoder and encoder at work."""

    parameters: float
    decoder: float
    encoder: float


VAE_21 = Coder(126.9e6, 25_900, 16_600)
VAE_22 = Coder(704.7e6, 21_050, 7_710)


class Transformer(NamedTuple):
    """Bytes of one expert on the device: outside its blocks, of one block, and how many blocks there are."""

    outside: int
    block: int
    blocks: int

    @property
    def whole(self) -> int:
        """All of it."""
        return self.outside + self.blocks * self.block

    def streamed(self, kept: int) -> int:
        """What is on the device while blocks come and go through two buffers."""
        return self.outside + min(kept + 2, self.blocks) * self.block

    def sharded(self, kept: int, ranks: int) -> int:
        """The same where each of as many devices has an equal part of the other blocks."""
        moving = max(0, self.blocks - kept)
        return self.outside + kept * self.block + -(-moving * self.block // ranks) + min(2, moving) * self.block


class Stage(NamedTuple):
    """A moment: the weights that are on the device, and what is worked on."""

    weights: int
    work: int


def beside_torch(load: Workload) -> int:
    """Bytes on the device that torch does not allocate."""
    talks = load.device.kind == "cuda" and load.layout.ranks > 1
    return DRIVER[load.device.kind] + (EXCHANGE_BUFFERS if talks else 0)


def estimate_memory(load: Workload, residency: ResidencyPlan) -> MemoryEstimate:
    """Bytes at the worst moment, as torch allocates them: :func:`beside_torch` is not in it.

    ``weights`` are those that are on the device at that moment; ``activations`` belong to the transformer, ``vae`` is
    the VAE with what it works on.
    """
    stages = _stages(load, residency)
    peak = max(stages, key=sum)
    vae = vae_bytes(load) + vae_work(load, residency)
    return MemoryEstimate(
        weights=peak.weights, activations=activations(load), vae=vae, peak=sum(peak), host=_host(load, residency)
    )


def transformer_of(load: Workload, weights: WeightFormat) -> Transformer:
    """The largest expert of a workload, as it is kept on the device."""
    dit, size = load.model.dit, BYTES[load.precision]
    largest = max(load.model.experts, key=lambda expert: expert.parameters)
    square = dit.dim * dit.dim
    linear = 8 * square + 2 * dit.dim * dit.ffn_dim + (2 * square if dit.image_dim is not None else 0)
    # Modulation, norms and biases of a block.
    small = 12 * dit.dim * _WIDE + (9 * dit.dim + dit.ffn_dim) * size
    blocks = dit.layers + dit.branch_layers
    rest = max(0, largest.parameters - blocks * (linear + 21 * dit.dim + dit.ffn_dim))
    # Embedding and projection of the timestep stay fp32, see the loader.
    clock = min(rest, 7 * square + dit.freq_dim * dit.dim)
    stored = largest.bytes / max(1, largest.parameters)
    per_weight = min(size, stored) if weights == "as_stored" else _FORMATS.get(weights, size)
    return Transformer(
        outside=clock * _WIDE + (rest - clock) * size, block=round(linear * per_weight) + small, blocks=blocks
    )


def activations(load: Workload) -> int:
    """Bytes that the transformer works on in one pass."""
    dit, size = load.model.dit, BYTES[load.precision]
    texts = 2 if load.paired else 1
    branch = _BRANCH * dit.dim if dit.branch_layers else 0
    exchange = _exchanging(load)
    if load.speed.profile == "exact":
        fused = max((4 + 6 * size) * dit.dim, exchange, (8 + 2 * size) * dit.dim + size * dit.ffn_dim) * texts
        per_token = max(fused, _CLOCKED_HEAD * dit.dim if load.clocked_tokens else 0)
    else:
        attention, stream = (28, 16) if size == _WIDE else (26, 14)
        per_text = max(attention * dit.dim, exchange, stream * dit.dim + 2 * size * dit.ffn_dim)
        per_token = per_text * texts + (_CLOCKED * dit.dim if load.clocked_tokens else 0)
    # Before they are divided all tokens are embedded, and a camera's rays with them.
    whole = max(_adapting(load), size * dit.dim if exchange else 0)
    work = max(load.own_tokens * (per_token + branch), load.tokens * whole + load.own_tokens * branch)
    return work + load.tokens * _ROTATION + carried(load)


def _exchanging(load: Workload) -> int:
    """Bytes per token while devices exchange what they attend to."""
    dit, size, count = load.model.dit, BYTES[load.precision], load.layout.sequence
    if count == 1:
        return 0
    heads = gcd(dit.heads, count)
    if heads == count:
        return (4 + 10 * size) * dit.dim
    return (18 + (10 if heads == 1 else 13) * size) * dit.dim


def _adapting(load: Workload) -> int:
    """Bytes per token while a camera's rays become features: twice the rays, beside the stream and what comes out."""
    dit, size = load.model.dit, BYTES[load.precision]
    if load.model.task != "camera":
        return 0
    pixels = (_PATCH * load.model.compression.spatial) ** 2
    return (4 + size) * dit.dim + 2 * size * _RAYS * pixels


def widened(load: Workload, weights: WeightFormat) -> int:
    """Bytes of the layer that is made as wide as the arithmetic while it works, where layers are kept in few bits."""
    dit, size = load.model.dit, BYTES[load.precision]
    expert = transformer_of(load, weights)
    narrow = expert.block < transformer_of(load, "as_computed").block
    return size * dit.dim * dit.ffn_dim if narrow else 0


def carried(load: Workload) -> int:
    """Bytes that are there between the passes: keys and values of the texts, latents, and what libraries keep."""
    dit, latent = load.model.dit, load.latent
    cached = load.texts + (1 if load.batched else 0)
    blocks = dit.layers + dit.branch_layers
    texts = 2 * BYTES[load.precision] * blocks * load.context_rows * dit.dim * cached
    numbers = latent.channels * latent.frames * latent.height * latent.width
    fixed = _LIBRARY_WORK if load.device.kind == "cuda" else 0
    return texts + _LATENTS * _WIDE * numbers + rays(load) + fixed + remembered(load)


def remembered(load: Workload) -> int:
    """Bytes that skipped steps need: what blocks added in computed ones, and the stream in front of the blocks, which
    is let go otherwise; with their sum in fp32, once for every text of a batch."""
    if not load.residuals:
        return 0
    passing = _WIDE * (1 + (2 if load.paired else 1))
    return load.own_tokens * load.model.dit.dim * (load.residuals * BYTES[load.precision] + passing)


def rays(load: Workload) -> int:
    """Bytes of a camera's rays, which are as fine as the pixels and stay on the device to the end."""
    video = load.video
    numbers = _RAYS * load.latent.frames * video.height * video.width
    return _WIDE * numbers if load.model.task == "camera" else 0


def vae_parameters(model: ModelDescription) -> int:
    """Of the VAE; the originals publish it in fp32."""
    return model.vae_parameters or model.vae_bytes // _WIDE


def vae_bytes(load: Workload) -> int:
    """Bytes of the VAE's weights."""
    return BYTES[load.speed.vae_precision] * vae_parameters(load.model)


def vae_work(load: Workload, residency: ResidencyPlan, *, encoder: bool = False) -> int:
    """Bytes that the VAE's decoder, or its encoder, works on; tile by tile where it works in tiles."""
    coder = coder_of(load.model)
    scale: float = (vae_parameters(load.model) / coder.parameters) ** _OTHER_SIZES
    height, width, tile = load.video.height, load.video.width, residency.vae_tile
    per_pixel = (coder.encoder if encoder else coder.decoder) * scale
    if load.device.kind == "cuda":
        per_pixel *= _WORKSPACE
    if load.speed.vae_precision != "fp32":
        per_pixel *= _HALF
    if tile is None or (tile >= height and tile >= width):
        return round(per_pixel * _rows(load, residency) * width)
    return round(per_pixel * min(tile, height) * min(tile, width) + _OUTPUT_CHUNK * height * width)


def _rows(load: Workload, residency: ResidencyPlan) -> float:
    """Rows of pixels that a device works on: its own of every frame, and what that takes of its neighbours'."""
    height, count = load.video.height, row_parts(load, residency)
    if count == 1:
        return height
    unit = load.model.compression.spatial
    return min(height, (_OWN_ROWS * -(-height // unit // count) + _HALO_ROWS) * unit)


def row_parts(load: Workload, residency: ResidencyPlan) -> int:
    """How many devices divide the rows of a frame: all, unless they divide tiles or there are fewer rows."""
    rows = load.video.height // load.model.compression.spatial
    return load.layout.ranks if residency.vae_tile is None and rows >= load.layout.ranks else 1


def coder_of(model: ModelDescription) -> Coder:
    """The published VAE that a model's is like."""
    coarse = 16
    return VAE_22 if model.compression.spatial == coarse else VAE_21


def text_parameters(model: ModelDescription) -> int:
    """Of the text encoder; the originals publish it in bf16."""
    return model.text_encoder_parameters or model.text_encoder_bytes // BYTES["bf16"]


def _stages(load: Workload, residency: ResidencyPlan) -> list[Stage]:
    """All moments that may be the worst, in their order."""
    model, size = load.model, BYTES[load.precision]
    expert = transformer_of(load, residency.weights)
    experts = max(1, len({step.expert for step in load.steps}))
    text = _text_bytes(load, residency)
    on_device = residency.text_encoder != "cpu"
    picture = 2 * (model.image_encoder_parameters or model.image_encoder_bytes // BYTES["fp16"]) if load.pictures else 0
    vae = vae_bytes(load)
    painting = expert.streamed(residency.kept_blocks) if residency.mode == "streamed" else expert.whole
    kept = text if residency.text_encoder == "device" else 0
    if residency.mode == "sharded":
        painting = expert.sharded(residency.kept_blocks, load.layout.ranks)
    elif residency.mode == "resident":
        painting = experts * expert.whole
        kept += picture + (vae if load.encoded_frames else 0)
    after = kept + (painting if residency.mode == "resident" else 0)
    painted = activations(load) + widened(load, residency.weights)
    stages = [Stage(kept + painting, painted), Stage(after + vae, vae_work(load, residency) + rays(load))]
    if on_device:
        stages.append(Stage(text, _TEXT_WORK * size // 2 * load.text_tokens))
    if picture:
        stages.append(Stage(max(kept, picture), 0))
    if load.encoded_frames:
        stages.append(Stage(max(kept, vae), vae_work(load, residency, encoder=True)))
    return stages


def _text_bytes(load: Workload, residency: ResidencyPlan) -> int:
    """Of the text encoder on the device."""
    whole = BYTES[load.precision] * text_parameters(load.model)
    if residency.text_encoder == "cpu":
        return 0
    return round(whole * (_TEXT_OUTSIDE + 2 * _TEXT_BLOCK)) if residency.mode == "streamed" else whole


def _host(load: Workload, residency: ResidencyPlan) -> int:
    """Of the machine's own memory, for all processes: of files they share the pages, and only the first encodes."""
    if load.device.kind != "cuda":
        return 0
    needs = _HOST
    text = BYTES[load.precision] * text_parameters(load.model)
    if residency.mode == "streamed" and residency.host == "pinned":
        # The text encoder works once and is read from its file meanwhile.
        expert = transformer_of(load, residency.weights)
        needs += expert.block * max(0, expert.blocks - residency.kept_blocks)
    if residency.vae_tile is not None:
        # Tiles are put together there.
        needs += 3 * _WIDE * load.video.frames * load.video.height * load.video.width
    return load.layout.ranks * needs + (text if residency.text_encoder == "cpu" else 0)
