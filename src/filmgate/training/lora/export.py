"""A trained LoRA as a file that others load.

| dialect   | a key                                                              | read by                          |
| comfyui   | diffusion_model.blocks.0.self_attn.q.lora_down.weight, .alpha      | ComfyUI, LightX2V, Diffusers     |
| diffusers | transformer.blocks.0.attn1.to_q.lora_A.weight, alpha in metadata   | Diffusers, PEFT                  |
| kohya     | lora_unet_blocks_0_self_attn_q.lora_down.weight, .alpha            | musubi-tuner, ComfyUI, Diffusers |

Both experts of a pair have files of their own, with the same keys: Diffusers loads the second with
``load_into_transformer_2=True``.

Legend: r rank, R rows and C columns of a layer's weight.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from filmgate.engine.checkpoints.names import DIFFUSERS_DIT
from filmgate.media.publish import write_bytes
from filmgate.training.lora.adapter import Factors
from filmgate.training.lora.recipe import Dialect

SAVED: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def key_of(layer: str, dialect: Dialect) -> str:
    """What a layer, by its original name, is called in a dialect."""
    if dialect == "comfyui":
        return f"diffusion_model.{layer}"
    if dialect == "kohya":
        return f"lora_unet_{layer.replace('.', '_')}"
    return f"transformer.{theirs(layer)}"


def theirs(layer: str) -> str:
    """A layer's name in Diffusers."""
    name = DIFFUSERS_DIT.to_theirs(layer)
    assert name is not None, layer
    return name


def lora_tensors(factors: Factors, alpha: float, dialect: Dialect, dtype: torch.dtype) -> dict[str, Tensor]:
    """Every tensor of the file by its key."""
    down_end, up_end = ("lora_A", "lora_B") if dialect == "diffusers" else ("lora_down", "lora_up")
    found: dict[str, Tensor] = {}
    for layer, (down, up) in factors.items():
        key = key_of(layer, dialect)
        found[f"{key}.{down_end}.weight"] = down.to("cpu", dtype).contiguous()
        found[f"{key}.{up_end}.weight"] = up.to("cpu", dtype).contiguous()
        if dialect != "diffusers":
            found[f"{key}.alpha"] = torch.tensor(float(alpha))
    return found


def peft_metadata(layers: Mapping[str, Any], rank: int, alpha: float) -> dict[str, str]:
    """What Diffusers writes beside its keys, and reads the scale from."""
    targets = sorted(theirs(layer) for layer in layers)
    fields = {"r": rank, "lora_alpha": alpha, "target_modules": targets, "peft_type": "LORA", "lora_dropout": 0.0}
    return {"lora_adapter_metadata": json.dumps({f"transformer.{name}": value for name, value in fields.items()})}


def write_lora(
    path: Path, factors: Factors, *, rank: int, alpha: float, dialect: Dialect, dtype: torch.dtype,
    metadata: Mapping[str, str],
) -> None:  # fmt: skip
    """Write a LoRA, all of it or nothing.

    Raises:
        OutputError: the directory is missing or not writable, or the disk is full.
    """
    told = {"format": "pt", **metadata, "ss_network_dim": str(rank), "ss_network_alpha": f"{alpha:g}"}
    if dialect == "diffusers":
        told |= peft_metadata(factors, rank, alpha)
    write_bytes(path, ordered(save(lora_tensors(factors, alpha, dialect, dtype), told)))


def ordered(file: bytes) -> bytes:
    """A safetensors file with its metadata in the order of their names, which the library leaves to chance: the same
    numbers then are the same bytes."""
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[8 + length :]
