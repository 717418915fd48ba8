"""The members of the toy family, as values: architecture, clip, world, and what each is told beside the text.

Every member has the tensors of a released model: names, order of channels, number of transformers. Only sizes differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.spec.model import Task
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import RICH, UNADORNED, Catalogue

SHIFT = 5.0
BOUNDARY = 0.875
TOYBOX_VAE = VaeConfig(dim=16, dim_mult=(2, 3, 4, 4), num_res_blocks=1, z_dim=16)
SMALL_VAE = VaeConfig(
    dim=32, dim_mult=(1, 1, 2, 2), num_res_blocks=1, z_dim=48, latents_mean=(0.0,) * 48, latents_std=(1.0,) * 48,
    patch=2, level_shortcuts=True,
)  # fmt: skip
"""Of the class of Wan 2.2's own VAE: 16×16 pixels and four frames to 48 channels. Its statistics are measured."""
TOYBOX_DIT = DitConfig(
    dim=256, ffn_dim=1024, num_heads=4, num_layers=8, in_dim=16, out_dim=16, text_len=64, text_dim=192, freq_dim=256
)
_PICTURED = replace(TOYBOX_DIT, in_dim=36)


@dataclass(frozen=True)
class Told:
    """What a model is told beside the text.

    Attributes:
        first: Share of the clips whose first frame is known.
        last: Share of those whose last frame is known too.
        beside: Known frames are read in channels beside the noise (mask, then latent), as by I2V-A14B; otherwise the
            first latent frame itself is held, and its tokens are told timestep 0, as by TI2V-5B.
        rays: The camera's path is read by an adapter.
    """

    first: float = 0.0
    last: float = 0.0
    beside: bool = False
    rays: bool = False


@dataclass(frozen=True)
class Member:
    """A model of the family. ``pair``: two experts, else one transformer; ``steps`` and ``guidance`` are defaults."""

    name: str
    title: str
    variant: str
    task: Task
    dit: DitConfig = TOYBOX_DIT
    vae: VaeConfig = TOYBOX_VAE
    clip: ClipFormat = field(default_factory=ClipFormat)
    told: Told = Told()
    pair: bool = True
    world: Catalogue = RICH
    steps: int = 20
    guidance: float = 4.0

    @property
    def family(self) -> str:
        """``wan2.1`` or ``wan2.2``."""
        return self.variant.partition("-")[0]

    @property
    def vae_name(self) -> str:
        """Name of the VAE's file, without its ending."""
        return "Wan2.2_VAE" if self.vae.level_shortcuts else "Wan2.1_VAE"


T2V = Member(
    "toybox-t2v", "Toybox text-to-video: two experts trained on a rendered toy world", "wan2.2-t2v-a14b", "t2v"
)
DENSE = Member(
    "toybox-dense", "Toybox text-to-video: the dense partner of the two experts", "wan2.1-t2v-1.3b", "t2v", pair=False
)
DEEP = replace(
    DENSE, name="toybox-deep", title="Toybox text-to-video: one transformer of as many parameters as both experts",
    dit=replace(TOYBOX_DIT, num_layers=2 * TOYBOX_DIT.num_layers),
)  # fmt: skip
PLAIN = Member(
    "toybox-2.1", "Toybox text-to-video in the manner of Wan 2.1: one transformer, plain captions", "wan2.1-t2v-1.3b",
    "t2v", pair=False, world=UNADORNED,
)  # fmt: skip
I2V = Member(
    "toybox-i2v", "Toybox image-to-video: two experts that continue a first frame", "wan2.2-i2v-a14b", "i2v", _PICTURED,
    told=Told(first=0.5, last=0.2, beside=True),
)  # fmt: skip
"""Half of the clips have no known frame: ``toybox-t2v`` is made of the same weights, without the channels that are zero
then, and so is the camera's member, which paints without a picture too."""
DEEP_PICTURED = replace(
    I2V, name="toybox-deep-i2v", title="Toybox: what toybox-deep is cut out of, as toybox-t2v out of toybox-i2v",
    pair=False, dit=replace(_PICTURED, num_layers=DEEP.dit.num_layers),
)  # fmt: skip
CAMERA = Member(
    "toybox-camera", "Toybox with a camera's path: image-to-video and an adapter that reads rays", "wan2.2-camera-a14b",
    "camera", replace(_PICTURED, camera_scale=8), told=Told(first=0.5, last=0.2, beside=True, rays=True),
)  # fmt: skip
TI2V = Member(
    "toybox-ti2v", "Toybox text-and-image-to-video: one transformer on a VAE of 16×16 pixels", "wan2.2-ti2v-5b", "ti2v",
    replace(TOYBOX_DIT, dim=192, ffn_dim=768, num_heads=3, in_dim=48, out_dim=48, per_token_timestep=True), SMALL_VAE,
    ClipFormat(frames=33, height=192, width=320, fps=16), Told(first=0.5), pair=False,
)  # fmt: skip
MEMBERS: Mapping[str, Member] = MappingProxyType(
    {m.name: m for m in (T2V, DENSE, DEEP, PLAIN, I2V, DEEP_PICTURED, CAMERA, TI2V)}
)
"""By name."""


def smoke_clip(member: Member) -> ClipFormat:
    """A clip of the member's proportions that a processor trains on in no time."""
    side = member.vae.spatial_factor * 2
    return ClipFormat(9, 2 * side, 3 * side, member.clip.fps)
