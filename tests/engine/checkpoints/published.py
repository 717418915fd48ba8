"""The formats in which Wan models are published, written by the libraries that publish them: tiny, of random weights.

Networks are made once in their original form; ``save_*`` write them as others would.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tests.engine.wan_directory import VAE, byte_tokenizer, network
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from filmgate.engine.models.config import DitConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae

State = Mapping[str, Tensor]
DIT = DitConfig(dim=256, ffn_dim=512, num_heads=2, num_layers=2, text_dim=256)
"""Wide enough that shapes tell the heads, and that rows are whole blocks of every GGUF type."""
DIT_I2V = DitConfig(dim=256, ffn_dim=512, num_heads=2, num_layers=2, in_dim=36, text_dim=256)
DIT_VACE = DitConfig(dim=256, ffn_dim=512, num_heads=2, num_layers=2, text_dim=256, vace_layers=(0, 1))
DIT_CAMERA = DitConfig(dim=256, ffn_dim=512, num_heads=2, num_layers=2, in_dim=36, text_dim=256, camera_scale=8)
TEXT = TextEncoderConfig(vocab=320, dim=256, dim_attn=256, dim_ffn=256, heads=4, layers=2)
FP8_MAX = 448.0
KEPT = ("modulation", "patch_embedding", "text_embedding", "time_", "img_emb", "head.", "norm", ".bias")
"""What quantised files keep in a wider format."""


def transformer(config: DitConfig = DIT, seed: int = 1) -> WanDiT:
    return network(WanDiT, config, seed)


def text_encoder(seed: int = 4) -> Umt5Encoder:
    return network(Umt5Encoder, TEXT, seed)


def vae(seed: int = 3) -> WanVae:
    return network(WanVae, VAE, seed)


def velocity(model: WanDiT) -> Tensor:
    """What a transformer makes of fixed inputs; of a copy, since sums may depend on where in a file a tensor begins."""
    model = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(7)
    x = torch.randn(1, model.config.in_dim, 2, 4, 6, generator=draw)
    context = torch.randn(1, 5, model.config.text_dim, generator=draw)
    with torch.no_grad():
        return model(x, torch.tensor([437.0]), context)


# -------------------------------------------------------------------------------------------------------- single files


def is_kept(name: str) -> bool:
    return any(word in name for word in KEPT)


def save_single(path: Path, state: State, *, dtype: torch.dtype | None = None, prefix: str = "") -> Path:
    """A plain file: one dtype, perhaps a prefix; float8 is a cast that leaves small tensors as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def cast(name: str, tensor: Tensor) -> Tensor:
        narrow = dtype is not None and dtype.itemsize == 1
        return tensor if dtype is None or (narrow and is_kept(name)) else tensor.to(dtype)

    tensors = {prefix + name: cast(name, tensor).contiguous() for name, tensor in state.items()}
    save_file(tensors, path, {"format": "pt"})
    return path


def save_scaled(path: Path, state: State, *, convention: str, prefix: str = "") -> Path:
    """fp8 with scales, in ComfyUI's older or newer convention or in LightX2V's; int8 in ComfyUI's newer one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if is_kept(name) or tensor.ndim != 2:
            tensors[prefix + name] = tensor.to(torch.bfloat16) if tensor.ndim > 1 else tensor
            continue
        layer = prefix + name.removesuffix(".weight")
        rows = convention == "lightx2v"
        largest = tensor.abs().amax(1, keepdim=True) if rows else tensor.abs().amax()
        if convention == "int8":
            scale = largest / 127
            tensors[f"{layer}.weight"] = (tensor / scale).round().to(torch.int8)
        else:
            scale = largest / FP8_MAX
            tensors[f"{layer}.weight"] = (tensor / scale).to(torch.float8_e4m3fn)
        tensors[f"{layer}.scale_weight" if convention == "scaled_fp8" else f"{layer}.weight_scale"] = scale.float()
        if convention == "scaled_fp8":
            tensors[f"{layer}.scale_input"] = torch.ones((), dtype=torch.float32)
        if convention in ("comfy_quant", "int8"):
            form = "int8_tensorwise" if convention == "int8" else "float8_e4m3fn"
            tensors[f"{layer}.comfy_quant"] = torch.tensor(
                list(json.dumps({"format": form}).encode()), dtype=torch.uint8
            )
    if convention == "scaled_fp8":
        tensors[f"{prefix}scaled_fp8"] = torch.empty(0, dtype=torch.float8_e4m3fn)
    save_file(tensors, path)
    return path


def save_gguf(path: Path, state: State, kind: str, *, metadata: Mapping[str, str] | None = None) -> Path:
    """As city96's converter writes them: large matrices in ``kind``, the rest wide, all axes reversed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "wan")
    for key, value in (metadata or {}).items():
        writer.add_string(key, value)
    for name, tensor in state.items():
        writer.add_tensor(name, *packed(name, tensor, gguf.GGMLQuantizationType[kind]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def packed(name: str, tensor: Tensor, kind: gguf.GGMLQuantizationType) -> tuple:
    """Arguments of ``add_tensor`` after the name. Types that the library only reads are filled with random blocks."""
    array = tensor.numpy()
    if is_kept(name) or tensor.ndim != 2 or kind == gguf.GGMLQuantizationType.F32:
        return (array,)
    if kind == gguf.GGMLQuantizationType.F16:
        return (array.astype(np.float16),)
    try:
        data = gguf.quants.quantize(array, kind)
    except NotImplementedError:
        data = random_blocks(tensor.shape, kind, seed=len(name))
    return data, None, kind


def random_blocks(shape: tuple[int, int], kind: gguf.GGMLQuantizationType, seed: int) -> np.ndarray:
    """Blocks of random bits whose scales are small numbers: any bits are a valid block but for those of its scales."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = shape
    blocks = np.random.default_rng(seed).integers(0, 256, (rows * columns // block, size), np.uint8)
    for offset in SCALE_OFFSETS[kind.name]:
        blocks[:, offset : offset + 2] = np.frombuffer(np.float16(1e-3).tobytes(), np.uint8)
    return blocks.reshape(rows, columns // block * size)


SCALE_OFFSETS = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
"""Where the fp16 scales of a block lie (ggml-common.h)."""

# ----------------------------------------------------------------------------------------------------------- libraries


def diffusers_transformer(
    seed: int = 1, *, in_channels: int = 16, out_channels: int = 16, image: bool = False
) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=16, in_channels=in_channels,
        out_channels=out_channels, text_dim=32, freq_dim=16, ffn_dim=48, num_layers=2, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", rope_max_seq_len=32, image_dim=24 if image else None,
        added_kv_proj_dim=32 if image else None,
    ).eval()  # fmt: skip


def diffusers_vace(seed: int = 1) -> WanVACETransformer3DModel:
    torch.manual_seed(seed)
    return WanVACETransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=16, in_channels=16, out_channels=16,
        text_dim=32, freq_dim=16, ffn_dim=48, num_layers=2, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", rope_max_seq_len=32, vace_layers=[0, 1], vace_in_channels=96,
    ).eval()  # fmt: skip


def diffusers_vae(*, newer: bool = False) -> AutoencoderKLWan:
    torch.manual_seed(3)
    shape = {"base_dim": 4, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1, "temperal_downsample": [False, True, True]}
    if not newer:
        return AutoencoderKLWan(z_dim=16, **shape).eval()
    return AutoencoderKLWan(
        z_dim=48, decoder_base_dim=8, is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        scale_factor_spatial=16, latents_mean=[0.1] * 48, latents_std=[0.7] * 48, **shape,
    ).eval()  # fmt: skip


def hugging_face_text_encoder(dim: int = 32) -> UMT5EncoderModel:
    torch.manual_seed(4)
    config = UMT5Config(vocab_size=320, d_model=dim, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    return UMT5EncoderModel(config).eval()


def hugging_face_clip(width: int = 24) -> CLIPVisionModel:
    torch.manual_seed(5)
    return CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=width, intermediate_size=4 * width, num_hidden_layers=3, num_attention_heads=2, image_size=28,
            patch_size=14, hidden_act="gelu",
        )
    ).eval()  # fmt: skip


def save_small_pipeline(root: Path) -> Path:
    """The pipeline of TI2V-5B, with the newer autoencoder and latent statistics of its own."""
    WanPipeline(
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer()), text_encoder=hugging_face_text_encoder(),
        vae=diffusers_vae(newer=True), scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0), expand_timesteps=True,
        transformer=diffusers_transformer(1, in_channels=48, out_channels=48),
    ).save_pretrained(root)  # fmt: skip
    return root


def save_pipeline(root: Path, task: str = "t2v", *, pair: bool = True) -> Path:
    """A pipeline of Diffusers, saved by it: Wan 2.2 with ``pair``, else Wan 2.1."""
    image = task == "i2v" and not pair
    channels = 36 if task == "i2v" else 16
    second = {"transformer_2": diffusers_transformer(2, in_channels=channels), "boundary_ratio": 0.875} if pair else {}
    parts = {
        "tokenizer": PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer()),
        "text_encoder": hugging_face_text_encoder(),
        "vae": diffusers_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
        "transformer": diffusers_transformer(1, in_channels=channels, image=image),
        **second,
    }
    if task == "i2v":
        parts |= {"image_encoder": hugging_face_clip() if image else None, "image_processor": None}
    make: Callable = WanImageToVideoPipeline if task == "i2v" else WanPipeline
    make(**parts).save_pretrained(root)
    return root


def save_vace_pipeline(root: Path, *, pair: bool) -> Path:
    """The pipeline of VACE: Wan 2.1, or VACE-Fun with ``pair``."""
    second = {"transformer_2": diffusers_vace(2), "boundary_ratio": 0.875} if pair else {}
    WanVACEPipeline(
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer()), text_encoder=hugging_face_text_encoder(),
        vae=diffusers_vae(), scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0), transformer=diffusers_vace(1),
        **second,
    ).save_pretrained(root)  # fmt: skip
    return root


def save_lora(root: Path, by: str) -> Path:
    """A LoRA of rank 4 and alpha 8, in a directory: by PEFT, or by a transformer of Diffusers."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_k"])
    model = diffusers_transformer()
    if by == "PEFT":
        get_peft_model(model, config).save_pretrained(root)
    else:
        model.add_adapter(config)
        model.save_lora_adapter(root)
    return root
