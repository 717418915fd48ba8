"""Quantised layers of safetensors files: fp8 or int8 numbers and the scales that belong to them. Without torch.

Three conventions are in use, and all mean "multiply": ComfyUI's older one (``X.scale_weight``, with a marker tensor
``scaled_fp8``), its newer one (``X.weight_scale``, with ``X.comfy_quant``, or the metadata ``_quantization_metadata``,
naming the format), and LightX2V's (``X.weight_scale`` with one number per row). A layer without a scale was cast
without one. The scales of activations are for matrix products in fp8, which are not used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filmgate.engine.checkpoints.records import TensorRecord, WeightRecords, parse_json
from filmgate.spec.errors import DamagedFile, WrongDtype, WrongShape

MARKER = "scaled_fp8"
WEIGHT = ".weight"
WEIGHT_SCALES = (".scale_weight", ".weight_scale")
ACTIVATION_SCALES = (".scale_input", ".input_scale")
LAYER_FORMAT = ".comfy_quant"
FORMATS_KEY = "_quantization_metadata"
FORMATS = ("float8_e4m3fn", "float8_e5m2", "int8_tensorwise")
"""Formats of ComfyUI's newer convention that a number and a scale are enough for."""
_NARROW = ("F8_E4M3", "F8_E5M2", "I8")
_MAX_FORMAT_BYTES = 4096


def with_scales(records: WeightRecords, tensors: Mapping[str, TensorRecord]) -> tuple[dict[str, TensorRecord], bool]:
    """Tensors that know their scales, without those that only described them; and whether the marker was there.

    Args:
        records: The whole file, for its metadata.
        tensors: Of one network, translated.

    Raises:
        WrongDtype: a layer has a format that a scale is not enough for.
        WrongShape: a scale is neither one number nor one per row.
        DamagedFile: the description of a format cannot be read.
    """
    _check_formats(records, tensors)
    dropped = {MARKER}
    scaled = dict(tensors)
    for name, record in tensors.items():
        if name.endswith((*ACTIVATION_SCALES, LAYER_FORMAT)):
            dropped.add(name)
        if not name.endswith(WEIGHT):
            continue
        layer = name.removesuffix(WEIGHT)
        scales = [layer + suffix for suffix in WEIGHT_SCALES if layer + suffix in tensors]
        if scales:
            scaled[name] = replace(record, scale=_checked(name, record, tensors[scales[0]]))
            dropped.update(scales)
    return {name: record for name, record in scaled.items() if name not in dropped}, MARKER in tensors


def _checked(name: str, record: TensorRecord, scale: TensorRecord) -> TensorRecord:
    rows = record.shape[:1]
    if scale.shape not in ((), (1,), rows, (*rows, 1)):
        raise WrongShape(
            scale.file, "a scale that is neither one number nor one per row", key=scale.stored or name,
            expected=f"(), (1,), {rows} or {(*rows, 1)}", found=scale.shape,
        )  # fmt: skip
    if scale.dtype.kind != "float" or scale.dtype.block > 1:
        raise WrongDtype(scale.file, "a scale that is not a fraction", key=scale.stored, found=scale.dtype.torch)
    if record.dtype.name not in _NARROW:
        raise WrongDtype(
            record.file, "a scale for numbers that have none", key=record.stored or name,
            expected=" or ".join(_NARROW), found=record.dtype.name,
        )  # fmt: skip
    return scale


def _check_formats(records: WeightRecords, tensors: Mapping[str, TensorRecord]) -> None:
    text = records.metadata.get(FORMATS_KEY)
    layers: dict[str, Any] = {}
    if text is not None:
        stated = parse_json(text.encode("utf-8", "surrogatepass"), records.source, FORMATS_KEY).get("layers")
        if not isinstance(stated, dict):
            raise DamagedFile(records.source, "formats that are not by layer", key=FORMATS_KEY, expected="layers")
        layers |= stated
    for name, record in tensors.items():
        if name.endswith(LAYER_FORMAT):
            layers[record.stored or name] = parse_json(_bytes(record), record.file, "format of a layer")
    for layer, stated in layers.items():
        _check_format(records.source, layer, stated)


def _check_format(source: Path, layer: str, stated: Any) -> None:
    name = stated.get("format") if isinstance(stated, dict) else stated
    if name not in FORMATS:
        raise WrongDtype(
            source, "a layer in a format that cannot be read", key=layer, expected=" or ".join(FORMATS),
            found=str(name)[:80],
        )  # fmt: skip
    if stated.get("convrot"):
        raise WrongDtype(
            source, "a layer whose inputs must be rotated, which is not done here", key=layer,
            expected="no convrot", found="convrot",
        )  # fmt: skip


def _bytes(record: TensorRecord) -> bytes:
    """The few bytes of a tensor that is text."""
    if record.begin is None or record.bytes > _MAX_FORMAT_BYTES:
        raise DamagedFile(
            record.file, "not a description of a format", key=record.stored,
            expected=f"at most {_MAX_FORMAT_BYTES} bytes", found=record.bytes,
        )  # fmt: skip
    with record.file.open("rb") as file:
        file.seek(record.begin)
        return file.read(record.bytes)
