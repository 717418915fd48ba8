"""One set of random weights in two pipelines: ours, planned and rendered, and that of diffusers.

The whole way is compared: our planner's plan, our encoders of text, pictures and video, the loop, the decoder.
Diffusers gets the features of the prompts from our text encoder (which has its own parity test), the same pictures and
the same noise. It is given our noise levels: where its own grid differs from the original code, docs/parity.md says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from tests.direction.models import CPU, model_of
from tests.engine.models.test_clip import randomised as random_clip
from tests.engine.models.test_clip import transformers_twin
from tests.engine.models.test_dit import diffusers_twin as transformer_twin
from tests.engine.models.test_dit import randomise
from tests.engine.models.test_vae import diffusers_twin as vae_twin
from tests.engine.pipeline.networks import tokenise

from filmgate.direction.planner import plan as make_plan
from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.config import DitConfig, ImageEncoderConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.pipeline import render as rendering
from filmgate.engine.pipeline.denoise import draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.values import Pictures
from filmgate.engine.runtime.attention_race import Races
from filmgate.spec import DitDimensions, InputFile, Plan, Preset, Request

TEXT = TextEncoderConfig(vocab=64, dim=24, dim_attn=24, dim_ffn=32, heads=2, layers=2, text_len=16)
VAE21 = VaeConfig(dim=4, dim_mult=(1, 2, 2, 2), num_res_blocks=1, z_dim=16)
VAE22 = VaeConfig(
    dim=4, dim_mult=(1, 2, 2, 2), num_res_blocks=1, z_dim=8, decoder_dim=6, patch=2, level_shortcuts=True,
    latents_mean=tuple(0.1 * (i - 3) for i in range(8)), latents_std=tuple(0.5 + 0.1 * i for i in range(8)),
)  # fmt: skip
CLIP = ImageEncoderConfig(dim=40, dim_ffn=64, heads=2, layers=3, patch=14, grid=16)
STEPS = 4


def dit(**changes) -> DitConfig:
    fields = {"dim": 48, "ffn_dim": 64, "num_heads": 2, "num_layers": 2, "text_len": 16, "text_dim": 24, **changes}
    return DitConfig(**fields)


def described(variant: str, config: DitConfig, vae: VaeConfig, **preset):
    """A published model with other dimensions and a small preset of its own."""
    dimensions = DitDimensions(
        dim=config.dim, ffn_dim=config.ffn_dim, heads=config.num_heads, layers=config.num_layers,
        in_channels=config.in_dim, out_channels=config.out_dim, text_len=config.text_len, text_dim=config.text_dim,
        freq_dim=config.freq_dim, image_dim=config.image_dim,
    )  # fmt: skip
    fields = {
        "sizes": ((48, 32),), "frames": 5, "fps": 8, "steps": STEPS, "shift": 5.0, "guidance_high": 3.5,
        "guidance_low": 2.5, "boundary": 0.875, "negative": "blur", **preset,
    }  # fmt: skip
    published = model_of(variant)
    experts = [expert.model_copy(update={"parameters": 200_000, "bytes": 800_000}) for expert in published.experts]
    return published.model_copy(
        update={
            "dit": dimensions, "compression": vae.compression, "preset": Preset(**fields), "default_precision": "fp32",
            "experts": tuple(experts), "text_encoder_parameters": 20_000, "text_encoder_bytes": 80_000,
            "vae_parameters": 50_000, "vae_bytes": 200_000,
        }
    )  # fmt: skip


def picture(width: int, height: int, seed: int) -> np.ndarray:
    """A smooth random picture [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@dataclass
class Given:
    """A residency of networks that are there already."""

    transformers: dict[str, WanDiT]
    autoencoder: WanVae
    clip: ClipEncoder | None = None
    text: Umt5Encoder | None = None
    asked: list[str] = field(default_factory=list)
    device = torch.device("cpu")
    colours = None
    races = Races()

    def tokenise(self, text):
        return tokenise(text)

    def text_encoder(self):
        return self._told("text_encoder", self.text)

    def image_encoder(self):
        return self._told("image_encoder", self.clip)

    def transformer(self, name):
        return self._told(name, self.transformers[name])

    def vae(self):
        return self._told("vae", self.autoencoder)

    def holds(self, name):
        return self.asked[-1:] == [name]

    def release(self, name):
        self.asked.append(f"-{name}")

    def _told(self, name, network):
        self.asked.append(name)
        return network


def networks(config: DitConfig, vae: VaeConfig, experts: tuple[str, ...], *, clip: bool = False) -> Given:
    """Random networks; every expert has weights of its own."""
    torch.manual_seed(0)
    transformers = {name: randomise(WanDiT(config), 10 + index) for index, name in enumerate(experts)}
    autoencoder, text = WanVae(vae).eval(), Umt5Encoder(TEXT).eval()
    return Given(
        {name: network.requires_grad_(False) for name, network in transformers.items()},
        autoencoder.requires_grad_(False),
        random_clip(CLIP, 5) if clip else None,
        text.requires_grad_(False),
    )


def planned(model, pictures: Pictures = rendering.NO_PICTURES, **wishes) -> Plan:
    """The plan of our planner, with the files that the pictures would have come from."""
    inputs = []
    for role in ("image", "last_image", "video"):
        shown = getattr(pictures, role)
        if shown is not None:
            speed = {"frames": len(shown), "fps": (8, 1)} if role == "video" else {}
            height, width = shown.shape[-3:-1]
            inputs.append(InputFile(role=role, path=role, sha256="0", width=width, height=height, **speed))
    named = {file.role: file.path for file in inputs}
    request = Request(prompt="a red ball rolls", seed=3, **named, **wishes)
    return make_plan(request, model, CPU, lambda text: len(tokenise(text)), inputs)


def ours(plan: Plan, given: Given, pictures: Pictures, monkeypatch) -> tuple[torch.Tensor, np.ndarray]:
    """The final latent [C, T, H, W] and the frames [F, h, w, 3] of our pipeline."""
    seen = []
    original = rendering.decode
    monkeypatch.setattr(rendering, "decode", lambda latent, vae: seen.append(latent) or original(latent, vae))
    items = [item for item in rendering.render(plan, given, pictures) if isinstance(item, np.ndarray)]
    return seen[0], np.concatenate(items)


def scheduler(plan: Plan):
    """Diffusers' UniPC with the noise levels and the clock of our plan."""
    from diffusers import UniPCMultistepScheduler

    class Ours(UniPCMultistepScheduler):
        def set_timesteps(self, *arguments, **options):
            super().set_timesteps(*arguments, **options)
            self.sigmas = torch.tensor([*(step.sigma for step in plan.steps), 0.0])
            self.timesteps = torch.tensor([int(step.timestep) for step in plan.steps])

    return Ours(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=plan.shift)


def theirs(kind: str, plan: Plan, given: Given, *, arguments=None, modules=None, **config):
    """What diffusers' pipeline of that kind makes of the plan: the final latent and the frames in 0 ... 1."""
    import diffusers

    names = ("high_noise", "low_noise") if "high_noise" in given.transformers else ("dense", None)
    first, second = (transformer_twin(given.transformers[name]) if name else None for name in names)
    parts = {
        "tokenizer": None, "text_encoder": None, "vae": vae_twin(given.autoencoder), "scheduler": scheduler(plan),
        "transformer": first, **(modules or {}),
    }  # fmt: skip
    if kind != "WanVideoToVideoPipeline":
        parts |= {"transformer_2": second, "boundary_ratio": plan.boundary, **config}
    pipeline = getattr(diffusers, kind)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    texts = encode(plan.prompt, plan.negative, tokenise, given.text)
    padded = [torch.cat([text, text.new_zeros(plan.model.dit.text_len - len(text), TEXT.dim)])[None]
              for text in (texts.text, texts.negative)]  # fmt: skip
    scales = {step.expert: step.guidance for step in plan.steps}
    call = {
        "prompt_embeds": padded[0], "negative_prompt_embeds": padded[1], "height": plan.video.height,
        "width": plan.video.width, "num_inference_steps": len(plan.steps),
        "guidance_scale": scales.get("high_noise", scales.get("dense")), **(arguments or {}),
    }  # fmt: skip
    if kind != "WanVideoToVideoPipeline":
        call |= {"num_frames": plan.video.frames, "latents": draw_noise(plan.latent, plan.seed)[None]}
    if second is not None:
        call["guidance_scale_2"] = scales["low_noise"]
    seen = []
    pipeline.vae.decode, decode = lambda z, **options: seen.append(z) or decode(z, **options), pipeline.vae.decode
    frames = pipeline(**call, output_type="np").frames[0]
    return given.autoencoder.normalise(seen[0])[0], frames


def clip_modules(given: Given):
    """The image encoder of a diffusers pipeline, and what prepares pictures for it."""
    from transformers import CLIPImageProcessor

    return {"image_encoder": transformers_twin(given.clip), "image_processor": CLIPImageProcessor()}


LATENT, CODES = 1e-4, 1
"""Largest differences that are allowed: of final latents of about unit size, and of frames in codes of 0 ... 255."""


def largest(mine, other):
    """The largest difference between two tensors of one shape."""
    assert mine.shape == other.shape
    return (mine - other).abs().max().item()


def assert_same(mine, other, *, latent=LATENT):
    """Latents by their largest difference, frames by one code; returns what was reached of what was allowed."""
    difference = largest(mine[0], other[0])
    assert difference <= latent, difference
    codes = np.round(other[1] * 255).astype(int)
    assert mine[1].shape == codes.shape
    off = int(np.abs(mine[1].astype(int) - codes).max())
    assert off <= CODES
    assert (mine[1] == codes).mean() > 0.98
    assert codes.std() > 3, "there is something to see"
    return {"latent": difference, "latent_bound": latent, "codes": off, "codes_bound": CODES}
