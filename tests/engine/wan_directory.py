"""Complete model directories in the original Wan layout, tiny and of random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.config import DitConfig, ImageEncoderConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig

DIT = DitConfig(dim=32, ffn_dim=48, num_heads=2, num_layers=2, text_len=12, text_dim=24, freq_dim=16)
VAE = VaeConfig(dim=4, dim_mult=(1, 2, 2, 2), num_res_blocks=1, z_dim=16)
TEXT = TextEncoderConfig(vocab=320, dim=24, dim_attn=24, dim_ffn=32, heads=2, layers=2, text_len=12)
PAIR = {"high_noise_model": 1, "low_noise_model": 2}
"""Folders of the experts, and the seeds of their weights."""
PRESET = {
    "sizes": [[32, 32]], "frames": 5, "fps": 12, "steps": 4, "shift": 5.0, "guidance_high": 4.0, "guidance_low": 3.0,
    "boundary": 0.875,
}  # fmt: skip
SIDECAR = {
    "id": "tiny", "title": "A tiny pair", "variant": "wan2.2-t2v-a14b", "family": "wan2.2", "task": "t2v",
    "text_len": 12, "compression": {"temporal": 4, "spatial": 8, "channels": 16, "patch": 2}, "preset": PRESET,
    "default_precision": "fp32", "latent_rgb_factors": [[0.1, 0.0, -0.1]] * 16,
}  # fmt: skip


def tiny_wan_directory(
    root: Path,
    *,
    folders: dict[str, int] | None = None,
    dit: DitConfig = DIT,
    vae: VaeConfig = VAE,
    text: TextEncoderConfig = TEXT,
    vae_name: str = "Wan2.1_VAE",
    dtype: torch.dtype = torch.float32,
    suffix: str = ".safetensors",
    sidecar: dict | None = None,
    clip: ImageEncoderConfig | None = None,
) -> Path:
    """Write a model directory at ``root`` and return it.

    Args:
        folders: Folders of transformers and seeds of their weights: :data:`PAIR`, or ``{".": 1}`` for a dense model.
        dit, vae, text: Architectures; heads of the transformer are known from config.json.
        vae_name: File name of the autoencoder.
        dtype: Of all weights.
        suffix: ``.safetensors`` or ``.pth``, of the autoencoder and the text encoder, as both are published.
        sidecar: generation.json, as in :data:`SIDECAR`.
        clip: Image encoder, with the parts of the published file that are never used.
    """
    for folder, seed in (PAIR if folders is None else folders).items():
        save(root / folder / "diffusion_pytorch_model.safetensors", network(WanDiT, dit, seed), dtype)
        (root / folder / "config.json").write_text(json.dumps(transformer_config(dit)))
    save(root / f"{vae_name}{suffix}", network(WanVae, vae, 3), dtype)
    save(root / f"models_t5_umt5-xxl-enc-bf16{suffix}", network(Umt5Encoder, text, 4), dtype)
    tokenizer = root / "google" / "umt5-xxl"
    tokenizer.mkdir(parents=True, exist_ok=True)
    byte_tokenizer().save(str(tokenizer / "tokenizer.json"))
    if clip is not None:
        save_clip(root / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", clip)
    if sidecar is not None:
        (root / "generation.json").write_text(json.dumps(sidecar))
    return root


def network(build: type[nn.Module], config: object, seed: int) -> nn.Module:
    """A network of seeded weights in evaluation mode, without gradients."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(config).requires_grad_(False).eval()


def save(path: Path, module: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """Write a module's weights in the format that the path's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.to(dtype).contiguous() for name, tensor in module.state_dict().items()}
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path, {"format": "pt"})


def save_clip(path: Path, clip: ImageEncoderConfig) -> None:
    """Write an image encoder as it is published: both towers, the visual one with all its blocks."""
    whole = network(ClipEncoder, replace(clip, layers=clip.layers + 1), 5)
    state = {f"visual.{name}": tensor for name, tensor in whole.state_dict().items()}
    state |= {"visual.post_norm.weight": torch.ones(clip.dim), "visual.post_norm.bias": torch.zeros(clip.dim)}
    state |= {
        "visual.head": torch.zeros(clip.dim, 8),
        "textual.norm.weight": torch.ones(8),
        "log_scale": torch.ones(()),
    }
    torch.save({name: tensor.half() for name, tensor in state.items()}, path)


def transformer_config(dit: DitConfig) -> dict:
    """config.json, as the original repositories have it."""
    model_type = "ti2v" if dit.in_dim == 48 else "i2v" if dit.in_dim == 36 else "t2v"
    if dit.image_positions is not None:
        model_type = "flf2v"
    return {
        "_class_name": "WanModel", "_diffusers_version": "0.33.0", "model_type": model_type, "dim": dit.dim,
        "eps": dit.eps, "ffn_dim": dit.ffn_dim, "freq_dim": dit.freq_dim, "in_dim": dit.in_dim,
        "num_heads": dit.num_heads, "num_layers": dit.num_layers, "out_dim": dit.out_dim, "text_len": dit.text_len,
    }  # fmt: skip


def byte_tokenizer() -> Tokenizer:
    """A tokenizer with umT5's special ids that knows letters, a few words, and bytes for everything else."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"<0x{byte:02X}>", -18.0) for byte in range(256)]
    pieces += [(letter, -10.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    pieces += [(f"▁{word}", -5.0) for word in ("a", "red", "blue", "ball", "cube", "rolls")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return tokenizer
