"""Attention that reads some blocks of keys and skips the others.

Legend: B batch, L tokens, N heads, n heads of a group, Dh head dimension, R blocks of :data:`BLOCK` tokens (the last
may be shorter), C blocks that are read.

Fast path: ``block_sparse_attention_forward`` of NVIDIA's cudnn-frontend (PyPI ``nvidia-cudnn-frontend`` 1.32, kernels
in CuTe), on Hopper and Blackwell. Its blocks are 64 or 128 tokens; 64 is a fifth slower. Keys beyond the last token are
masked there. All lists of a call are of one length here, so that heads that read more than others have calls of their
own. In eight bits see :mod:`~.eight_bit_attention`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.kernels.partial_attention import Part
from filmgate.engine.kernels.skipped_blocks import Tokens, with_skipped
from filmgate.spec.errors import DeviceError, InvalidRequest

BLOCK = 128
"""Tokens of a block on a GPU."""
PACKAGE, LEAST = "nvidia-cudnn-frontend", (1, 32)
"""What has the kernels, and its first version that we know to have them."""
HEAD_DIMS = (64, 96, 128)
AttendPart = Callable[[Tensor, Tensor, Tensor, Tensor, int], Part]
"""``(q, k, v, index, block)``: attention to the blocks of ``index`` [1 or B, N, R, C]."""


@dataclass(frozen=True, eq=False)
class HeadGroup:
    """Heads that read equally many blocks.

    Attributes:
        heads: Their numbers; None: all.
        index: Blocks that each block of queries reads, [1 or B, n, R, C], int32, none of them twice.
    """

    heads: Tensor | None
    index: Tensor


@dataclass(frozen=True, eq=False)
class KeptBlocks:
    """Which blocks of keys each block of queries reads, by head.

    Attributes:
        groups: Of all heads, each once.
        block: Tokens of a block.
    """

    groups: tuple[HeadGroup, ...]
    block: int = BLOCK

    @property
    def part(self) -> float:
        """Share of all pairs of blocks that is computed."""
        sizes = [group.index.shape[1:] for group in self.groups]
        return sum(n * rows * kept for n, rows, kept in sizes) / sum(n * rows * rows for n, rows, _ in sizes)


def all_blocks(length: int, heads: int, block: int = BLOCK, device: torch.device | None = None) -> KeptBlocks:
    """Lists that leave nothing out: attention as it is, by the kernel for blocks."""
    rows = blocks_of(length, block)
    index = torch.arange(rows, dtype=torch.int32, device=device).expand(1, heads, rows, rows)
    return KeptBlocks((HeadGroup(None, index.contiguous()),), block)


def blocks_of(length: int, block: int) -> int:
    """How many blocks ``length`` tokens are."""
    return -(-length // block)


def block_attention(q: Tensor, k: Tensor, v: Tensor, kept: KeptBlocks, *, summary: bool = True) -> Tensor:
    """Attend every block of queries to the blocks of keys that are kept for it; these are read exactly.

    Args:
        q, k, v: [B, L, N, Dh]; on a GPU bf16 or fp16, and Dh 64, 96 or 128.
        kept: For L tokens and N heads.
        summary: Whether blocks that are skipped are read as one key and one value each, see :mod:`~.skipped_blocks`.

    Returns:
        [B, L, N, Dh], dtype of ``q``.
    """
    if q.is_meta:
        return torch.empty_like(q)
    return by_group(q, k, v, kept, _cudnn if q.device.type == "cuda" else part_reference, summary=summary)


def block_attention_reference(q: Tensor, k: Tensor, v: Tensor, kept: KeptBlocks, *, summary: bool = True) -> Tensor:
    """:func:`block_attention` written out, softmax in fp32, one block of queries at a time."""
    return by_group(q, k, v, kept, part_reference, summary=summary)


def by_group(q: Tensor, k: Tensor, v: Tensor, kept: KeptBlocks, attend: AttendPart, *, summary: bool) -> Tensor:
    """Call ``attend`` on the heads of each group, add what the skipped blocks say, put the results side by side."""
    mixed = torch.empty_like(q) if len(kept.groups) > 1 else q
    for group in kept.groups:
        own = Tokens(q, k, v)
        if group.heads is not None:
            own = Tokens(*(x.index_select(2, group.heads) for x in own))
        found = attend(own.q, own.k, own.v, group.index, kept.block)
        if summary and group.index.shape[-1] < group.index.shape[-2]:
            found = with_skipped(found, own, group.index, kept.block)
        if group.heads is None:
            return found.mixed
        mixed.index_copy_(2, group.heads, found.mixed)
    return mixed


def rows_of(q: Tensor, k: Tensor, v: Tensor, index: Tensor, block: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """What every block of queries reads, one block at a time, so that memory holds no L × L.

    Args:
        q, k, v: [B, L, N, Dh].
        index: [1 or B, N, R, C].
        block: Tokens of a block.

    Yields:
        The block's tokens; its scores [B, N, r, C·block], scaled, fp32, minus infinity where no token is; and the
        values that they weigh [B, N, C·block, Dh].
    """
    batch, length, heads, width = q.shape
    count = index.shape[2]
    filled = (0, 0, 0, 0, 0, count * block - length)
    keys, values = (F.pad(x, filled).transpose(1, 2).unflatten(2, (count, block)) for x in (k, v))
    real = torch.arange(count * block, device=q.device).view(count, block) < length
    index = index.expand(batch, -1, -1, -1).long()
    samples, every = (torch.arange(size, device=q.device) for size in (batch, heads))
    for row in range(count):
        own = slice(row * block, min(length, (row + 1) * block))
        chosen = index[:, :, row]
        pick = (samples[:, None, None], every[None, :, None], chosen)
        some = (q[:, own].transpose(1, 2) * width**-0.5) @ keys[pick].flatten(2, 3).transpose(-1, -2)
        there = real[chosen].flatten(2)[:, :, None]
        yield own, some.float().masked_fill(~there, float("-inf")), values[pick].flatten(2, 3)


def part_reference(q: Tensor, k: Tensor, v: Tensor, index: Tensor, block: int) -> Part:
    """Attention to the blocks of ``index`` [1 or B, N, R, C], one block of queries at a time."""
    mixed, log_sum = torch.empty_like(q), torch.empty(q.shape[:-1], device=q.device)
    for own, scores, values in rows_of(q, k, v, index, block):
        mixed[:, own] = (scores.softmax(-1).to(v.dtype) @ values).transpose(1, 2)
        log_sum[:, own] = scores.logsumexp(-1).transpose(1, 2)
    return Part(mixed, log_sum)


def _cudnn(q: Tensor, k: Tensor, v: Tensor, index: Tensor, block: int) -> Part:
    from cudnn.block_sparse_attention import block_sparse_attention_forward

    q, k, v = (x if x.stride(0) and x.is_contiguous() else x.contiguous() for x in (q, k, v))
    found = block_sparse_attention_forward(
        q, k, v, index.expand(len(q), -1, -1, -1).contiguous(), index.shape[-1], sparse_block_size=block, layout="bshd"
    )  # fmt: skip
    return Part(found["o_tensor"], found["lse_tensor"].transpose(1, 2))


def check_block_attention(head_dim: int, dtype: torch.dtype, device: torch.device, *, eight_bit: bool = False) -> None:
    """Whether :func:`block_attention` can run; on a CPU it always can.

    Raises:
        DeviceError: the package is missing, or the GPU is too old.
        InvalidRequest: the kernel is not for such a model.
    """
    allowed: Sequence[int] = (128,) if eight_bit else HEAD_DIMS
    dtypes = (torch.bfloat16,) if eight_bit else (torch.bfloat16, torch.float16)
    if device.type == "cpu":
        return
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (9, 0):
        raise DeviceError(
            f"attention by blocks needs an NVIDIA GPU of Hopper or later, not {device}",
            allowed="dense attention", nearest="torch",
        )  # fmt: skip
    if head_dim not in allowed or dtype not in dtypes:
        raise InvalidRequest(
            "attention", f"attention by blocks of heads of {head_dim} in {dtype}",
            allowed=f"heads of {', '.join(map(str, allowed))} in {' or '.join(str(each) for each in dtypes)}",
        )  # fmt: skip
    found = installed_version()
    if found is None or tuple(int(part) for part in found.split(".")[:2]) < LEAST:
        raise DeviceError(
            f"attention by blocks needs {PACKAGE}, which is {f'too old: {found}' if found else 'not installed'}",
            allowed=f"pip install 'filmgate[blocks]' ({PACKAGE} {'.'.join(map(str, LEAST))} or later)",
        )  # fmt: skip


def installed_version() -> str | None:
    """Of the package that has the kernels, if it is there."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None
