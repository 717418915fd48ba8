"""What is known of a model before it is loaded: enough to plan with, read from configuration and headers only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from filmgate.spec.shape import Compression, Frozen

Task = Literal["t2v", "i2v", "flf2v", "ti2v", "vace", "camera"]
"""What a model was trained for."""
Operation = Literal["t2v", "t2i", "i2v", "flf2v", "v2v", "vace", "camera"]
"""What is done with it: from text to a video or to one picture, from a first picture, from a first and a last one, from
a video, by mask and references, along a camera's path."""
Keep = Literal["start", "end", "inside"]
"""Which part of the result a video is that VACE adds to: its beginning, its end, or the middle of every frame."""
ExpertName = Literal["high_noise", "low_noise", "dense"]
Solver = Literal["unipc", "dpmpp_2m", "euler", "res_multistep", "euler_ancestral", "lcm"]
Precision = Literal["fp32", "bf16", "fp16"]


class Preset(Frozen):
    """Sampling defaults of a model, as its authors published them.

    ``guidance_high`` and ``guidance_low`` are the classifier-free guidance scales of the high- and low-noise expert
    (a dense model uses ``guidance_low`` alone and has the same number in both). ``boundary`` is a sigma in (0, 1), None
    for a dense model. ``sizes`` are (width, height) pairs; the first is the default.
    """

    sizes: tuple[tuple[int, int], ...]
    frames: int
    fps: int
    steps: int
    shift: float
    guidance_high: float
    guidance_low: float
    boundary: float | None = None
    solver: Solver = "unipc"
    negative: str = ""
    max_area: int | None = None


class DitDimensions(Frozen):
    """Dimensions of a Wan transformer (original config.json names in parentheses).

    ``image_dim`` is the width of the image features that it attends to, None for a model without that branch;
    ``branch_layers`` are the blocks of VACE's branch, which work beside the others.
    """

    dim: int
    ffn_dim: int
    heads: int = Field(description="num_heads")
    layers: int = Field(description="num_layers")
    in_channels: int = Field(description="in_dim")
    out_channels: int = Field(description="out_dim")
    text_len: int = 512
    text_dim: int = 4096
    freq_dim: int = 256
    image_dim: int | None = None
    branch_layers: int = 0


class ExpertDescription(Frozen):
    """One transformer of a model: where it lies and what it weighs."""

    name: ExpertName
    path: str
    parameters: int
    bytes: int
    dtype: str


class FewStep(Frozen):
    """LoRAs that come with a model and let it paint in few steps: the preset that they were distilled for, and files by
    expert, relative to the model's directory. ``default``: it paints with them where nothing else is asked for."""

    preset: str
    loras: tuple[tuple[ExpertName, str], ...]
    default: bool = False


class ModelDescription(Frozen):
    """A model on disk. ``path`` is its root directory, empty for a published model that is not here; ``variant`` the
    public name of the architecture it matches.

    ``vocabulary`` is the list of words that a small model was trained on (None: open vocabulary); a prompt with other
    words gets a warning.
    """

    id: str
    title: str
    variant: str
    family: Literal["wan2.1", "wan2.2"]
    task: Task
    path: str
    dit: DitDimensions
    compression: Compression
    experts: tuple[ExpertDescription, ...]
    preset: Preset | None = None
    vocabulary: tuple[str, ...] | None = None
    default_precision: Precision = "bf16"
    text_encoder_bytes: int = 0
    text_encoder_parameters: int = 0
    vae_bytes: int = 0
    vae_parameters: int = 0
    image_encoder_bytes: int = 0
    image_encoder_parameters: int = 0
    notes: tuple[str, ...] = ()
    few_step: FewStep | None = None

    @property
    def here(self) -> bool:
        """Whether there are files to render with."""
        return bool(self.path)


class DeviceDescription(Frozen):
    """The device that a plan is made for. Memory in bytes; ``name`` as the driver says it; ``index`` counts devices of
    one kind; ``bf16`` says whether it multiplies in that format, ``triton`` whether Triton, which the fused kernels
    need, is installed for it, ``flash4`` whether FlashAttention 4 is, and runs on it."""

    kind: Literal["cpu", "cuda", "mps"]
    name: str
    memory_bytes: int
    cores: int = 1
    index: int = 0
    bf16: bool = True
    triton: bool = True
    flash4: bool = False


class Capabilities(Frozen):
    """What a backend can do: its device and the models it can run."""

    backend: str
    device: DeviceDescription
    models: tuple[ModelDescription, ...] = ()
