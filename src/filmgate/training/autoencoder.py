"""Training of the toy family's causal video VAE on clips rendered as they are needed.

Legend: B clips, F frames, H W pixels, z latent channels. What the losses are for (see docs/toybox.md for the numbers):
the mean PSNR of a clip hides the objects, which fill 3 % of it and are all that prompts talk about; so errors on object
pixels weigh more, chroma has a term of its own, and the first frame, which the causal VAE encodes alone, weighs three
times as much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from filmgate.engine.models.vae import WanVae
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.training.averaging import Average
from filmgate.training.members import MEMBERS, T2V, Member, smoke_clip
from filmgate.training.muon import Muon
from filmgate.training.precision import mixed
from filmgate.training.ranks import Ranks
from filmgate.training.records import Curve, load_tensors, reached, save_tensors
from filmgate.training.schedule import Clock, Session, until
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import RICH, Catalogue, add_world_option
from filmgate.training.world.render import Renderer, chunk_of
from filmgate.training.world.scenes import SceneStream, sample_scenes

JUDGED = 64
"""Clips that a run is judged by."""


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a run; ``pool`` clips are rendered at once and each is used once. ``decoder_only`` leaves
    every latent as it is, so that a transformer which was trained on them stays good."""

    batch: int = 8
    pool: int = 64
    rate: float = 1e-3
    matrix_rate: float = 2e-3
    muon: bool = True
    object_weight: float = 5.0
    first_frame_weight: float = 3.0
    similarity_weight: float = 0.4
    motion_weight: float = 0.25
    chroma_weight: float = 1.0
    divergence_weight: float = 1e-4
    latent_noise: float = 0.10
    seed: int = 1
    world: Catalogue = RICH
    member: Member = T2V
    decoder_only: bool = False


ENCODER = ("encoder.", "conv1.")
"""How the names of the tensors begin that make latents."""


def _luma_chroma(rgb: Tensor) -> Tensor:
    """Blue- and red-difference of BT.601 full range; [B, 3, F, H, W] to [B, 2, F, H, W]."""
    matrix = torch.tensor([[-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], device=rgb.device)
    return torch.einsum("bcfhw,kc->bkfhw", rgb, matrix)


def similarity(x: Tensor, y: Tensor, scales: int = 3) -> Tensor:
    """Structural similarity (Wang et al. 2004) of frames [N, C, H, W] in [-1, 1], 7×7 box windows, mean over scales."""
    total = x.new_zeros(())
    for _ in range(scales):
        mean_x, mean_y = F.avg_pool2d(x, 7, 1), F.avg_pool2d(y, 7, 1)
        var_x = F.avg_pool2d(x * x, 7, 1) - mean_x * mean_x
        var_y = F.avg_pool2d(y * y, 7, 1) - mean_y * mean_y
        covariance = F.avg_pool2d(x * y, 7, 1) - mean_x * mean_y
        c1, c2 = 0.02**2, 0.06**2
        value = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        total = total + (value / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean()
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return total / scales


def reconstruction_loss(decoded: Tensor, video: Tensor, objects: Tensor, recipe: Recipe) -> Tensor:
    """Weighted error of reconstructed clips [B, 3, F, H, W] in [-1, 1]; ``objects`` [B, 1, F, H, W] is 1 on objects."""
    weight = 1 + recipe.object_weight * objects
    weight = torch.cat([weight[:, :, :1] * recipe.first_frame_weight, weight[:, :, 1:]], 2)
    weight = weight / weight.mean()
    error = decoded - video
    loss = (torch.sqrt(error * error + 1e-5) * weight).mean() + 2.0 * (error * error * weight).mean()
    loss = loss + recipe.chroma_weight * (_luma_chroma(error).abs() * weight).mean()
    loss = loss + recipe.motion_weight * (error[:, :, 1:] - error[:, :, :-1]).abs().mean()
    frames = decoded.transpose(1, 2).flatten(0, 1), video.transpose(1, 2).flatten(0, 1)
    return loss + recipe.similarity_weight * (1 - similarity(*frames))


def training_loss(vae: WanVae, video: Tensor, objects: Tensor, noise: Tensor, recipe: Recipe) -> Tensor:
    """Loss of one batch; ``noise`` [2, B, z, T, h, w] standard normal: one draw for sampling, one for robustness."""
    with mixed(video.device):
        mu, log_variance = vae.encode_sequence(video)
        mu, log_variance = mu.float(), log_variance.float().clamp(-20, 10)
        latent = mu + noise[0] * torch.exp(0.5 * log_variance) + noise[1] * recipe.latent_noise
        decoded = vae.decode_sequence(latent)
    divergence = 0.5 * (mu * mu + log_variance.exp() - 1 - log_variance).mean()
    return reconstruction_loss(decoded.float(), video, objects, recipe) + recipe.divergence_weight * divergence


def to_unit(rgb: Tensor) -> Tensor:
    """uint8 to float in [-1, 1]."""
    return rgb.float() / 127.5 - 1


def clips(renderer: Renderer, recipe: Recipe, device: torch.device, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of (video in [-1, 1], object mask), fresh scenes every time."""
    stream = SceneStream(recipe.pool, torch.Generator(device).manual_seed(seed), recipe.world)
    while True:
        clip = renderer(next(stream))
        for start in range(0, recipe.pool, recipe.batch):
            part = slice(start, start + recipe.batch)
            yield to_unit(clip.rgb[part]), (clip.number[part] > 0).float()[:, None]


@torch.no_grad()
def evaluate(vae: WanVae, video: Tensor, objects: Tensor) -> dict[str, float | list[float]]:
    """PSNR in dB: mean over clips, per frame, on object pixels; SSIM. Uses the mean latent, batch by batch."""
    squared, masked, frames, similar = [], [], [], []
    for start in range(0, len(video), 8):
        part = video[start : start + 8]
        with mixed(video.device):
            decoded = vae.decode_sequence(vae.encode_sequence(part)[0].float())
        error = ((decoded.float().clamp(-1, 1) - part) / 2) ** 2
        mask = objects[start : start + 8]
        squared.append(error.mean((1, 2, 3, 4)))
        frames.append(error.mean((1, 3, 4)))
        masked.append((error * mask).sum((1, 2, 3, 4)) / (3 * mask.sum((1, 2, 3, 4))).clamp_min(1))
        pair = decoded.float().transpose(1, 2).flatten(0, 1), part.transpose(1, 2).flatten(0, 1)
        similar.append(similarity(*pair, scales=1))

    def decibel(value: Tensor) -> Tensor:
        return -10 * torch.log10(value.clamp_min(1e-10))

    has_objects = objects.sum((1, 2, 3, 4)) > 0
    return {
        "psnr": decibel(torch.cat(squared)).mean().item(),
        "object_psnr": decibel(torch.cat(masked)[has_objects]).mean().item(),
        "frame_psnr": [round(x, 2) for x in decibel(torch.cat(frames)).mean(0)[::4].tolist()],
        "ssim": torch.stack(similar).mean().item(),
    }


def without_encoder(vae: WanVae) -> WanVae:
    """The same VAE, of which only what decodes learns."""
    for name, parameter in vae.named_parameters():
        parameter.requires_grad_(not name.startswith(ENCODER))
    return vae


def optimisers(vae: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for kernels of hidden layers, AdamW for the rest; AdamW for all if the recipe says so."""
    named = [(name, p) for name, p in vae.named_parameters() if p.requires_grad]
    edge = ("encoder.conv1", "decoder.head.2")
    kernels = [p for n, p in named if recipe.muon and p.ndim >= 4 and not n.startswith(edge)]
    chosen = {id(p) for p in kernels}
    rest = [p for _, p in named if id(p) not in chosen]
    result: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, recipe.rate, betas=(0.9, 0.95), weight_decay=0.0)]
    return [*result, Muon(kernels, recipe.matrix_rate)] if kernels else result


class Workshop:
    """What every run on a device shares: the renderer, the compiled step, clips to judge by.

    The step is compiled before the renderer, so that a process which fills the renderer's compiler cache can work
    beside it.
    """

    def __init__(self, recipe: Recipe, clip: ClipFormat, ranks: Ranks, *, compiled: bool) -> None:
        self.clip, self.ranks, self.device, self.frozen = clip, ranks, ranks.device(), recipe.decoder_only
        self.config = vae = recipe.member.vae
        side = vae.spatial_factor
        self.latent = (recipe.batch, vae.z_dim, (clip.frames + 3) // 4, clip.height // side, clip.width // side)
        self.step_loss = torch.compile(training_loss, dynamic=False) if compiled else training_loss
        if compiled:
            video = torch.rand(recipe.batch, 3, clip.frames, clip.height, clip.width, device=self.device) * 2 - 1
            objects = (video[:, :1] > 0.5).float()
            self.step_loss(self.new_vae(), video, objects, self.noise(), recipe).backward()
        self.renderer = Renderer(clip, compile_shader=compiled)
        judge = torch.Generator(self.device).manual_seed(999_983)
        shown = self.renderer(sample_scenes(recipe.pool, judge, world=recipe.world))
        self.held_out = to_unit(shown.rgb[:JUDGED]), (shown.number[:JUDGED] > 0).float()[:, None]

    def new_vae(self) -> WanVae:
        """A freshly initialised VAE in the layout that the device likes."""
        vae = WanVae(self.config).to(self.device)
        prepare(vae, Choices(channels_last=True))
        return without_encoder(vae) if self.frozen else vae

    def noise(self) -> Tensor:
        """The two latent draws that :func:`training_loss` takes."""
        return torch.randn(2, *self.latent, device=self.device)


def train(shop: Workshop, clock: Clock, recipe: Recipe, vae: WanVae, output: Path) -> None:
    """Train ``vae`` for one session; leaves ``vae.safetensors`` (averaged, fp32), ``vae.jsonl`` and a picture."""
    ranks, session = shop.ranks, clock.session
    shadow = shop.new_vae()
    average = Average(vae, 0.998)
    seed = recipe.seed * 7919 + ranks.rank + int(session.start * 1e6)
    source = clips(shop.renderer, recipe, shop.device, seed)
    ranks.share(vae.state_dict())
    working = optimisers(vae, recipe)
    groups = [group for o in working for group in o.param_groups]
    peaks = [group["lr"] for group in groups]
    curve = Curve(output / "vae.jsonl")
    step, shown = 0, 1
    loss = norm = torch.zeros(())
    rate = 0.0

    def look(loss: Tensor, norm: Tensor, rate: float) -> None:
        average.copy_to(shadow)
        quality = evaluate(shadow, *shop.held_out)
        curve.note(step=step, progress=clock.progress, loss=loss.item(), gradient=norm.item(), rate=rate, **quality)
        save_tensors(output / "vae.safetensors", average.state(), reached(clock.progress))

    while not ranks.agree(clock.finished):
        progress = ranks.agree(clock.progress)
        video, objects = next(source)
        rate = session.rate(progress, step)
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * rate
        loss = shop.step_loss(vae, video, objects, shop.noise(), recipe)
        loss.backward()
        ranks.average_gradients(vae.parameters())
        norm = nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for o in working:
            o.step()
            o.zero_grad(set_to_none=True)
        average.update(vae)
        step += 1
        if ranks.first and clock.elapsed > shown * session.seconds / 8 and not clock.finished:
            began = time.monotonic()
            look(loss, norm, rate)
            shown = int(clock.elapsed / session.seconds * 8) + 1
            clock.forgive(time.monotonic() - began)
    if ranks.first:
        look(loss, norm, rate)
        comparison_picture(shadow, shop.held_out[0][:8], output / "vae.png")
        curve.note(event="end", muon=int(recipe.muon), steps=step, steps_per_second=step / clock.elapsed)


@torch.no_grad()
def comparison_picture(vae: WanVae, video: Tensor, path: Path) -> None:
    """PNG of five moments of each clip [B, 3, F, H, W]: originals above, reconstructions below."""
    with mixed(video.device):
        decoded = vae.decode_sequence(vae.encode_sequence(video)[0].float())
    frames = torch.linspace(0, video.shape[2] - 1, 5).round().long().tolist()
    pair = torch.stack([video[:, :, frames], decoded.float()[:, :, frames]], 1)
    rows = pair.permute(0, 1, 4, 3, 5, 2).flatten(0, 2).flatten(1, 2)
    pixels = ((rows.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def main() -> None:
    """Command line: ``python -m filmgate.training.autoencoder --seconds 500 --output runs/vae``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True, help="train for so long, compilation not counted")
    parser.add_argument("--deadline", type=float, help="but no longer than so long after the start of the process")
    parser.add_argument("--start", type=float, default=0.0)
    parser.add_argument("--stop", type=float, default=1.0)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--decoder-only", action="store_true", help="latents stay as they are")
    parser.add_argument("--smoke", action="store_true", help="tiny clips, no compilation: checks the code on a CPU")
    parser.add_argument("--adam", action="store_true")
    add_world_option(parser)
    parser.add_argument("--member", choices=sorted(MEMBERS), default=T2V.name, help="whose VAE is trained")
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--matrix-rate", type=float, default=Recipe.matrix_rate)
    args = parser.parse_args()
    member, ranks = MEMBERS[args.member], Ranks.join()
    clip = smoke_clip(member) if args.smoke else member.clip
    pool = chunk_of(clip, ranks.device(), compiled=not args.smoke)
    recipe = Recipe(batch=4, pool=8) if args.smoke else Recipe(batch=args.batch, pool=max(pool, args.batch))
    recipe = replace(
        recipe, member=member, world=args.world, muon=not args.adam, rate=args.rate, matrix_rate=args.matrix_rate,
        decoder_only=args.decoder_only,
    )  # fmt: skip
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    began = time.monotonic()
    torch.manual_seed(recipe.seed)
    shop = Workshop(recipe, clip, ranks, compiled=not args.smoke)
    print(f"ready after {time.monotonic() - began:.0f} s on {shop.device}", flush=True)
    torch.manual_seed(recipe.seed)
    vae = shop.new_vae()
    if args.resume is not None:
        vae.load_state_dict(load_tensors(args.resume))
    torch.manual_seed(recipe.seed + 1000 * ranks.rank)
    clock = Clock(Session(args.seconds, args.start, args.stop), until=until(began, args.deadline))
    train(shop, clock, recipe, vae, args.output)
    ranks.leave()


if __name__ == "__main__":
    main()
