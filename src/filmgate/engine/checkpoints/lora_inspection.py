"""The LoRA doctor: what a file is, what it was made for, and how much of it fits.

Reads headers only; does not need torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from filmgate.engine.checkpoints.evidence import evidence_of
from filmgate.engine.checkpoints.lora import Coverage, Lora, Shapes, cover, read_lora
from filmgate.engine.checkpoints.names import DIFFUSERS_DIT
from filmgate.engine.checkpoints.parts import read_parts
from filmgate.spec.model import ExpertName, ModelDescription
from filmgate.spec.shape import Frozen


class Match(Frozen):
    """How much of a LoRA fits one transformer. ``rest`` says of every other change why it does not."""

    model: str
    matched: int
    changes: int
    rest: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Matched of all."""
        return self.matched / max(1, self.changes)


class LoraFacts(Frozen):
    """What :func:`inspect_lora` found. Printed, it is a report for people.

    ``alphas`` has None where nothing states one, so that it is the rank. ``made_for`` are the published models that
    most of it fits; ``width`` is that of the transformer that its attention fits, where it changes one; ``expert`` is
    empty where nothing tells, ``expert_by`` says what does. ``matches`` compare with the model that was given, or with
    those of ``made_for``. ``problem`` says why it cannot be used, where nothing of it fits.
    """

    path: str
    dialect: str
    bytes: int
    ranks: tuple[int, ...]
    alphas: tuple[float | None, ...]
    low_rank: int
    full: int
    sections: tuple[str, ...]
    made_for: tuple[str, ...]
    width: int | None = None
    expert: str = ""
    expert_by: str = ""
    matches: tuple[Match, ...] = ()
    unknown: tuple[str, ...] = ()
    metadata: dict[str, str]
    problem: str = ""

    def __str__(self) -> str:
        rows = [
            ("dialect", self.dialect),
            ("rank", ", ".join(map(str, self.ranks)) or "none: full differences only"),
            ("alpha", ", ".join("not stated, as the rank" if a is None else f"{a:g}" for a in self.alphas) or "none"),
            ("changes", f"{self.low_rank} low-rank, {self.full} full"),
            ("made for", " or ".join(self.made_for) or self._unpublished()),
            ("expert", self._expert()),
            ("bytes", f"{self.bytes:,}"),
            *(("fits", f"{m.model}: {m.matched} of {m.changes} changes ({m.share:.1%})") for m in self.matches),
            *(("metadata", f"{key}: {' '.join(value.split())[:80]}") for key, value in self.metadata.items()),
        ]
        width = max(len(label) for label, _ in rows)
        lines = [self.path, *(f"  {label.ljust(width)}  {value}" for label, value in rows), *self._warnings()]
        return "\n".join(lines)

    def _unpublished(self) -> str:
        return "no published model" + ("" if self.width is None else f": its attention is {self.width} wide")

    def _expert(self) -> str:
        if self.sections:
            return f"both: {', '.join(self.sections)}"
        if not self.expert:
            return "nothing in its name or metadata tells"
        return f"{self.expert.replace('_', '-')}, by its {self.expert_by}"

    def _warnings(self) -> Iterator[str]:
        for match in self.matches:
            if match.rest:
                count = len(match.rest)
                yield f"warning: {count} change{' has' if count == 1 else 's have'} no place in {match.model}"
                yield from (f"  {reason}" for reason in match.rest)
        if 0.0 in self.alphas:
            yield "warning: an alpha of 0 switches its changes off"
        if self.unknown:
            count = len(self.unknown)
            yield f"warning: {count} key{' is' if count == 1 else 's are'} no part of a LoRA"
            yield from (f"  {name}" for name in self.unknown)


class Against(NamedTuple):
    """Transformers to compare with: their names for people, and their tensors under the original names."""

    model: str
    experts: Mapping[ExpertName, Shapes]


def of_model(model: ModelDescription) -> Against:
    """The transformers of a model.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    experts = read_parts(Path(model.path)).experts
    return Against(model.id, {name: records.shapes for name, records in experts.items()})


def of_published(variant: str) -> Against | None:
    """The transformers of a published model, by its public name, without its files; None: its tensors are not listed
    here."""
    family, _, rest = variant.partition("-")
    wanted = f"Wan {family.removeprefix('wan')} {rest}".lower()
    title = next((name for name in _SIZES if name.replace("-Fun", "").lower() == wanted), None)
    if title is None:
        return None
    shapes = dit_shapes(_SIZES[title])
    pair: tuple[ExpertName, ...] = ("high_noise", "low_noise") if rest.endswith("a14b") else ("dense",)
    return Against(title, dict.fromkeys(pair, shapes))


def inspect_lora(path: Path, against: Against | None = None) -> LoraFacts:
    """Facts about a LoRA.

    Args:
        path: A file, or a directory that PEFT or Diffusers wrote.
        against: A model to compare with; None: the published ones.

    Raises:
        WrongVariant: it is no LoRA.
        CheckpointError: it cannot be read.
    """
    lora = read_lora(path)
    published = {name: cover(lora.changes, shapes) for name, shapes in _published(lora).items()}
    best = max(len(coverage.matched) for coverage in published.values())
    made_for = [name for name, coverage in published.items() if best and len(coverage.matched) == best]
    if against is not None:
        matches = _matches(lora, against)
    else:
        matches = tuple(_match(name, published[name]) for name in made_for)
    told = evidence_of(lora.records.source, lora.records.metadata)
    factors = [change for change in lora.changes if change.down]
    return LoraFacts(
        path=str(path),
        dialect=lora.dialect,
        bytes=lora.records.bytes,
        ranks=tuple(sorted({change.rank for change in factors if change.rank is not None})),
        alphas=tuple(sorted({change.alpha for change in factors}, key=lambda alpha: (alpha is not None, alpha or 0.0))),
        low_rank=len(factors),
        full=len(lora.changes) - len(factors),
        sections=lora.sections,
        made_for=tuple(made_for),
        width=_width(lora),
        expert=told.expert if told is not None and not lora.sections else "",
        expert_by=told.by if told is not None and not lora.sections else "",
        matches=matches,
        unknown=lora.unknown,
        metadata=dict(lora.records.metadata),
        problem="" if any(match.matched for match in matches) else _problem(lora, against, matches),
    )


def _problem(lora: Lora, against: Against | None, matches: tuple[Match, ...]) -> str:
    """Why a LoRA of which nothing fits does not, in a sentence."""
    if against is None:
        return "No published model has a place for any of its changes; --model compares it with a model of yours."
    if not matches:
        return f"It is for {' and '.join(lora.sections)}, and {against.model} has one transformer for all noise levels."
    return f"Of its {len(lora.changes)} changes none has a place in {against.model}: {matches[0].rest[0]}."


def _width(lora: Lora) -> int | None:
    """Width of the transformer that it was made for, by its changes of attention."""
    found = (c.shape[0] for c in lora.changes if re.search(r"_attn\.[qo]\.weight$", c.target) and len(c.shape) == 2)
    return next(found, None)


def _matches(lora: Lora, against: Against) -> tuple[Match, ...]:
    """Of every transformer that the file has something for."""
    found = []
    for expert, shapes in against.experts.items():
        section = lora.section_for(expert)
        if section is not None:
            name = against.model if expert == "dense" else f"{against.model}, {expert.replace('_', '-')} expert"
            found.append(_match(name, cover(lora.changes_in(section), shapes)))
    return tuple(found)


def _match(name: str, coverage: Coverage) -> Match:
    count = len(coverage.matched)
    return Match(model=name, matched=count, changes=count + len(coverage.rest), rest=coverage.rest)


class _Sizes(NamedTuple):
    """Of a published transformer: width, feed-forward width, layers, channels in and out, width of image features and
    their positions, blocks of VACE."""

    dim: int
    ffn: int
    layers: int
    channels_in: int = 16
    channels_out: int = 16
    image: int | None = None
    positions: int | None = None
    vace: int = 0


_1B, _5B, _14B = (1536, 8960, 30), (3072, 14336, 30), (5120, 13824, 40)
_SIZES = {
    "Wan 2.1 T2V-1.3B": _Sizes(*_1B),
    "Wan 2.1 T2V-14B": _Sizes(*_14B),
    "Wan 2.2 T2V-A14B": _Sizes(*_14B),
    "Wan 2.1 I2V-14B": _Sizes(*_14B, 36, image=1280),
    "Wan 2.1 FLF2V-14B": _Sizes(*_14B, 36, image=1280, positions=514),
    "Wan 2.2 I2V-A14B": _Sizes(*_14B, 36),
    "Wan 2.2 TI2V-5B": _Sizes(*_5B, 48, 48),
    "Wan 2.1 VACE-1.3B": _Sizes(*_1B, vace=15),
    "Wan 2.1 VACE-14B": _Sizes(*_14B, vace=8),
    "Wan 2.2 VACE-Fun-A14B": _Sizes(*_14B, vace=8),
}
_TEXT, _FREQUENCIES, _VACE_CHANNELS = 4096, 256, 96


def _published(lora: Lora) -> dict[str, Shapes]:
    """The published transformers. Those with VACE's branch have all tensors of those without, so that they count only
    for what changes the branch."""
    branch = any(change.target.startswith("vace") for change in lora.changes)
    return {name: dit_shapes(sizes) for name, sizes in _SIZES.items() if branch or not sizes.vace}


def dit_shapes(sizes: _Sizes) -> dict[str, tuple[int, ...]]:
    """Every tensor of a transformer under its original name, without making one."""
    d, f = sizes.dim, sizes.ffn
    named = {
        "patch_embedding": (d, sizes.channels_in, 1, 2, 2),
        "text_embedding.0": (d, _TEXT), "text_embedding.2": (d, d),
        "time_embedding.0": (d, _FREQUENCIES), "time_embedding.2": (d, d), "time_projection.1": (6 * d, d),
        "head.head": (4 * sizes.channels_out, d),
        "ffn.0": (f, d), "ffn.2": (d, f), "vace_patch_embedding": (d, _VACE_CHANNELS, 1, 2, 2),
    }  # fmt: skip
    if sizes.image is not None:
        named |= {"img_emb.proj.1": (sizes.image, sizes.image), "img_emb.proj.3": (d, sizes.image)}
    bare = {"head.modulation": (1, 2, d), "modulation": (1, 6, d)}
    norms = {"img_emb.proj.0": sizes.image or 0, "img_emb.proj.4": d, "norm3": d}
    shapes: dict[str, tuple[int, ...]] = {}
    for template, _ in DIFFUSERS_DIT.rules:
        image, branch = re.search(r"img", template), template.startswith("vace")
        # The rules cover more than there is: VACE's blocks, and an image branch of self-attention.
        if (branch and not sizes.vace) or (image and (branch or sizes.image is None or ".self_attn." in template)):
            continue
        part = re.sub(r"^(vace_)?blocks\.\{\}\.", "", template)
        count = 1 if part == "before_proj" else sizes.vace if branch else sizes.layers
        for name in [template.replace("{}", str(i)) for i in range(count)] if "{}" in template else [template]:
            if part == "img_emb.emb_pos":
                shapes |= {name: (1, sizes.positions, sizes.image or 0)} if sizes.positions else {}
            elif part in bare:
                shapes[name] = bare[part]
            elif part in norms:
                shapes |= {f"{name}.weight": (norms[part],), f"{name}.bias": (norms[part],)}
            elif ".norm_" in part:
                shapes[f"{name}.weight"] = (d,)
            else:
                weight = named.get(part, (d, d))
                shapes |= {f"{name}.weight": weight, f"{name}.bias": weight[:1]}
    return shapes
