"""Which numbers the trainers multiply."""

from __future__ import annotations

import torch

# Asked once, outside of any function: a compiled trainer could not trace the question.
_HAS_AMX = torch.cpu._is_amx_tile_supported()


def multiplies_bf16(device: torch.device) -> bool:
    """Whether ``device`` has units that multiply bf16 matrices: any CUDA device of the torch builds we support, and
    processors with AMX tiles."""
    return device.type == "cuda" or (device.type == "cpu" and _HAS_AMX)


def mixed(device: torch.device) -> torch.autocast:
    """Autocast to bf16 where that is faster; weights, norms and losses stay in fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bf16(device))
