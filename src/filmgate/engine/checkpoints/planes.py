"""Runs of numbers as planes of bytes and bits, and planes as short streams. Without torch.

Trained weights are close to normally distributed, so that the exponent of a bf16 number carries about 2.6 of its 8 bits
and its leading mantissa bits a little less than all of theirs; the sign and the other mantissa bits are noise. A run of
bf16 numbers is therefore taken apart into one byte per number, made of the six lower exponent bits and the two upper
mantissa bits, and eight planes of single bits. A run of other numbers becomes one plane per byte. Each plane is stored
in whichever of four forms is shortest: nothing (all zero), raw, Huffman-coded (deflate without matches, which on such
data is both shorter and several times faster than LZMA), or LZMA.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filmgate.engine.checkpoints.records import DTYPES
from filmgate.spec.errors import CheckpointError, DamagedFile

if TYPE_CHECKING:  # planning looks into packed models, and must not wait for numpy
    import numpy as np
    from numpy.typing import NDArray

    Words = NDArray[np.uint16]
    Bytes = NDArray[np.uint8]

FORMS = ("zero", "raw", "huffman", "lzma")
MANTISSA_BITS = 7
"""Of a bf16 number; one more is implied."""
_SYMBOL_SHIFT = 5
_SINGLE_BITS = (15, 14, 13, 4, 3, 2, 1, 0)
_EXPONENT_MASK = 0x7F80
_LARGEST_FINITE = 0x7F7F
_MEMORY_LEVEL = 9
_LZMA_MEMORY = 64 << 20


def rounded(words: Words, mantissa_bits: int, source: Path) -> Words:
    """Round to nearest, ties to even, on the bits; what would become infinite becomes the largest finite number."""
    import numpy as np

    magnitude = words & 0x7FFF
    if bool((magnitude >= _EXPONENT_MASK).any()):
        raise CheckpointError(source, "weights that are not finite", expected="numbers", found="infinities or NaN")
    drop = MANTISSA_BITS - mantissa_bits
    if drop == 0:
        return words
    half, keep = (1 << drop - 1) - 1, 0xFFFF & ~((1 << drop) - 1)
    rounded = (magnitude + half + ((magnitude >> drop) & 1)) & keep
    finite: Words = np.minimum(rounded, _LARGEST_FINITE & keep).astype("<u2") | (words & 0x8000)
    return finite


def take_apart(data: bytes, dtype: str) -> Iterator[Bytes]:
    """Planes of a run: see the top of this file."""
    import numpy as np

    if dtype != "BF16":
        yield from np.frombuffer(data, np.uint8).reshape(-1, DTYPES[dtype].bytes).T
        return
    words = np.frombuffer(data, "<u2")
    yield (words >> _SYMBOL_SHIFT).astype(np.uint8)
    for bit in _SINGLE_BITS:
        yield np.packbits((words >> bit).astype(np.uint8) & 1)


def put_together(planes: Iterator[Bytes], dtype: str, elements: int) -> bytes:
    """Inverse of :func:`take_apart`."""
    import numpy as np

    if dtype != "BF16":
        return np.stack(list(planes), axis=1).tobytes()
    words = next(planes).astype("<u2") << _SYMBOL_SHIFT
    for bit, plane in zip(_SINGLE_BITS, planes, strict=True):
        if plane.any():
            words |= np.unpackbits(plane, count=elements).astype("<u2") << bit
    return words.tobytes()


def plane_sizes(dtype: str, elements: int) -> list[int]:
    """Bytes of each plane of a run."""
    if dtype != "BF16":
        return [elements] * DTYPES[dtype].bytes
    return [elements] + [-(-elements // 8)] * len(_SINGLE_BITS)


def squeeze(plane: Bytes) -> tuple[str, bytes]:
    """The shortest form of a plane, and its bytes in that form.

    LZMA takes fifty times as long as all else and rarely wins, so it is tried where it does on a sample.
    """
    if not plane.any():
        return "zero", b""
    forms = {name: form(plane.tobytes()) for name, form in _QUICK.items()}
    step = max(1, len(plane) // (_SAMPLES * _SAMPLE_BYTES))
    sample = plane[: len(plane) // _SAMPLE_BYTES * _SAMPLE_BYTES].reshape(-1, _SAMPLE_BYTES)[::step].tobytes()
    if not sample or len(_lzma(sample)) < min(len(form(sample)) for form in _QUICK.values()):
        forms["lzma"] = _lzma(plane.tobytes())
    form = min(forms, key=lambda name: len(forms[name]))
    return form, forms[form]


def _raw(data: bytes) -> bytes:
    return data


def _huffman(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, _MEMORY_LEVEL, zlib.Z_HUFFMAN_ONLY)
    return machine.compress(data) + machine.flush()


def _lzma(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE, preset=6)


_QUICK = {"raw": _raw, "huffman": _huffman}
_SAMPLES, _SAMPLE_BYTES = 16, 4096


def restore(form: str, payload: bytes, count: int, source: Path) -> Bytes:
    """Inverse of :func:`squeeze`, for a plane of ``count`` bytes; never makes more than that."""
    import numpy as np

    try:
        match form:
            case "zero":
                return np.zeros(count, np.uint8)
            case "raw":
                data = payload
            case "huffman":
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload, count)
            case _:
                machine = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
                data = machine.decompress(payload, count)
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise DamagedFile(source, "a stream cannot be expanded", expected=form, found=str(error)) from error
    if len(data) != count:
        raise DamagedFile(source, "a stream ends early", expected=f"{count} bytes", found=f"{len(data)} bytes")
    return np.frombuffer(data, np.uint8)
