"""What a plan asks of a device, as far as memory and time depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from filmgate.direction.controls import references
from filmgate.engine.sampling.guidance import PAIRED_TOKENS
from filmgate.spec.acceleration import MagCache, TaylorSeer
from filmgate.spec.inputs import InputFile
from filmgate.spec.layout import Layout
from filmgate.spec.model import DeviceDescription, ModelDescription, Operation, Precision
from filmgate.spec.plan import Plan, Step
from filmgate.spec.shape import LatentShape, VideoShape
from filmgate.spec.speed import SpeedPlan

_CLOCKED_CHANNELS = 48
"""Latent channels of models with a timestep per token."""
_PICTURE_ROWS = 257
"""Rows of image features of one picture: 16·16 patches and one for the whole."""


class Workload(NamedTuple):
    """Attributes:
    latent: What the transformer walks through, references included.
    text_tokens: Of all texts together.
    encoded_frames: What the VAE reads before it writes.
    pictures: How many the image encoder looks at.
    texts: 2 if a negative prompt is read, else 1.
    speed: What makes it fast.
    layout: How devices share it.
    computed: Passes that are made where others are skipped; None: all are.
    rounds: Steps in which any pass is made; None: all are.
    residuals: How many numbers of every token the transformer's blocks leave behind for skipped steps, in units of D.
    """

    model: ModelDescription
    device: DeviceDescription
    video: VideoShape
    latent: LatentShape
    steps: Sequence[Step]
    precision: Precision
    operation: Operation
    text_tokens: int
    encoded_frames: int = 0
    pictures: int = 0
    texts: int = 2
    speed: SpeedPlan = SpeedPlan()
    layout: Layout = Layout()
    computed: int | None = None
    residuals: int = 0
    rounds: int | None = None

    @property
    def tokens(self) -> int:
        """N, the length of the transformer's sequence."""
        return self.model.compression.tokens(self.latent)

    @property
    def context_rows(self) -> int:
        """Rows of text and of image features that every token attends to."""
        return self.model.dit.text_len + _PICTURE_ROWS * self.pictures

    @property
    def own_tokens(self) -> int:
        """n, the most of them that one device works on."""
        return -(-self.tokens // self.layout.sequence)

    @property
    def batched(self) -> bool:
        """Whether both texts of guidance go in together: so that devices can divide them, or because that is faster."""
        return self.texts == 2 and (self.layout.cfg > 1 or self.tokens <= PAIRED_TOKENS)

    @property
    def paired(self) -> bool:
        """Whether a device works on both of them at once. Guidance inside the attention reads both in a single pass."""
        return self.batched and self.layout.cfg == 1 and any(step.passes == 2 for step in self.steps)

    @property
    def clocked_tokens(self) -> bool:
        """Whether every token has a timestep of its own: models of TI2V's kind hold the frame of a picture at 0."""
        held = self.operation == "i2v" or (self.operation == "camera" and self.encoded_frames > 0)
        return held and self.model.compression.channels == _CLOCKED_CHANNELS

    @property
    def forwards(self) -> int:
        """Passes of the transformer that are made, for one text each."""
        return sum(step.passes for step in self.steps) if self.computed is None else self.computed

    @property
    def turns(self) -> int:
        """How often one device makes a pass: once for both texts where another device has the other one."""
        if self.layout.cfg == 1:
            return self.forwards
        return len(self.steps) if self.rounds is None else self.rounds

    def resized(self, video: VideoShape) -> Workload:
        """The same for a video of another shape."""
        references = self.latent.frames - self.model.compression.latent(self.video).frames
        latent = self.model.compression.latent(video)
        whole = self.encoded_frames >= self.video.frames
        encoded = self.encoded_frames * video.frames // self.video.frames if whole else self.encoded_frames
        latent = latent.model_copy(update={"frames": latent.frames + references})
        return self._replace(video=video, latent=latent, encoded_frames=encoded)


def workload_of(plan: Plan, text_tokens: int = 0) -> Workload:
    """The workload of a plan. It does not say how long its texts are in tokens."""
    return Workload(
        model=plan.model,
        device=plan.device,
        video=plan.video,
        latent=plan.latent.model_copy(update={"frames": plan.latent.frames + references(plan.inputs)}),
        steps=plan.steps,
        precision=plan.precision,
        operation=plan.operation,
        text_tokens=text_tokens,
        encoded_frames=encoded_frames(plan.operation, plan.model, plan.video, plan.inputs),
        pictures=pictures_seen(plan.model, plan.inputs),
        texts=2 if plan.reads_negative else 1,
        speed=plan.speed,
        layout=plan.layout,
        computed=plan.pass_counts.computed if plan.acceleration.work else None,
        residuals=_residuals(plan),
        rounds=sum(plan.passes_of(index) > 0 for index in range(len(plan.steps))),
    )


def _residuals(plan: Plan) -> int:
    """Terms that are remembered of all branches, at the most."""
    orders = [
        use.acceleration.order if isinstance(use.acceleration, TaylorSeer) else 0
        for use in plan.acceleration.recipe
        if isinstance(use.acceleration, TaylorSeer | MagCache)
    ]
    branches = max((step.passes for step in plan.steps), default=1)
    return branches * (1 + max(orders)) if orders else 0


def encoded_frames(
    operation: Operation, model: ModelDescription, video: VideoShape, inputs: Sequence[InputFile]
) -> int:
    """How many frames the VAE reads before it writes: all of a video, and of a clip that is grey behind its picture;
    for VACE of what is kept and of what is painted, and of every reference. Camera models that have no mask beside the
    picture's latent (Wan 2.1's) have its picture read alone."""
    if operation in ("t2v", "t2i") or (operation == "camera" and not any(file.width for file in inputs)):
        return 0
    if operation == "vace":
        return 2 * video.frames + references(inputs)
    unmasked = operation == "camera" and model.dit.in_channels == 2 * model.dit.out_channels
    return 1 if unmasked or (model.task == "ti2v" and operation == "i2v") else video.frames


def pictures_seen(model: ModelDescription, inputs: Sequence[InputFile]) -> int:
    """How many pictures the image encoder of a model looks at."""
    return 0 if model.dit.image_dim is None else sum(file.role in ("image", "last_image") for file in inputs)
