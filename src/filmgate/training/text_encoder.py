"""Pre-training of the toy family's text encoder: captions in, scene facts out; then it is frozen, as Wan freezes umT5.

Two tasks share the encoder: throw-away query heads read every label of the scene (a label that the caption leaves out
is predicted as well as its prior allows, which costs nothing), and masked words are restored from their context.
Legend: B captions, L tokens, D width, Q queries.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.engine.models.config import TextEncoderConfig
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.training.averaging import Average
from filmgate.training.precision import mixed
from filmgate.training.records import Curve, load_tensors, save_tensors
from filmgate.training.schedule import Clock, Session
from filmgate.training.world import attributes as a
from filmgate.training.world.captions import Captioner, Facts, facts
from filmgate.training.world.scenes import sample_scenes
from filmgate.training.world.tokenizer import build_tokenizer

TEXT_LENGTH = 64
PADDING, END, MASK = 0, 1, 2


def text_config() -> TextEncoderConfig:
    """The toy text encoder: umT5 with width 192, 4 layers, 6 heads."""
    vocabulary = build_tokenizer().get_vocab_size()
    return TextEncoderConfig(
        vocab=vocabulary, dim=192, dim_attn=192, dim_ffn=512, heads=6, layers=4, buckets=32, text_len=TEXT_LENGTH
    )


SLOT_SIZES = (
    4, 2, 4, *((len(a.COLOURS), len(a.SHAPES), len(a.MATERIALS), len(a.SIZES), len(a.MOTIONS)) * a.SLOTS),
    len(a.CAMERAS), len(a.LIGHTS), len(a.GROUNDS),
)  # fmt: skip
"""Classes of each query: count, alike, relation, five per object, camera, light, ground."""
IGNORED = -100


def slots(scene: Facts) -> list[int]:
    """Target class of every query. Objects are put in a canonical order (left before right, behind before in front), so
    that "A left of B" and "B right of A" have the same answer."""
    things, relation = list(scene.things), scene.relation
    if relation in ("right of", "in front of"):
        things[0], things[1] = things[1], things[0]
        relation = {"right of": "left of", "in front of": "behind"}[relation]
    row = [len(things), int(scene.alike), IGNORED if relation is None else a.RELATIONS.index(relation)]
    colours = list(a.COLOURS)
    for slot in range(a.SLOTS):
        if slot >= len(things):
            row += [IGNORED] * 5
            continue
        t = things[slot]
        row += [
            colours.index(t.colour), a.SHAPES.index(t.shape), a.MATERIALS.index(t.material), a.SIZES.index(t.size),
            a.MOTIONS.index(t.motion),
        ]  # fmt: skip
    return [*row, a.CAMERAS.index(scene.camera), list(a.LIGHTS).index(scene.light), list(a.GROUNDS).index(scene.ground)]


def encode_captions(texts: list[str]) -> Tensor:
    """Token ids [N, TEXT_LENGTH] int16, zero-padded; a caption that is too long loses its end, not its end mark."""
    tokenizer = build_tokenizer()
    tokenizer.enable_truncation(TEXT_LENGTH)
    tokenizer.enable_padding(length=TEXT_LENGTH, pad_id=PADDING)
    return torch.tensor([e.ids for e in tokenizer.encode_batch(texts)], dtype=torch.int16)


def caption_block(arguments: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """``count`` random captions with their slots from ``seed``: ids [N, L] int16, targets [N, Q] int8-safe int16."""
    seed, count = arguments
    torch.set_num_threads(1)
    scenes = sample_scenes(count, torch.Generator().manual_seed(seed), candidates=1)
    values, writer = facts(scenes.labels), Captioner(seed)
    return encode_captions([writer(v) for v in values]), torch.tensor([slots(v) for v in values], dtype=torch.int16)


class SlotReader(nn.Module):
    """Reads slots from encoder output with learned queries; thrown away after pre-training."""

    bar: Tensor

    def __init__(self, dim: int, vocabulary: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(SLOT_SIZES), dim) * 0.02)
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        widest = max(SLOT_SIZES)
        self.heads = nn.Parameter(torch.randn(len(SLOT_SIZES), dim, widest) * dim**-0.5)
        # Queries with fewer classes than the widest never choose the rest.
        absent = torch.arange(widest) >= torch.tensor(SLOT_SIZES)[:, None]
        self.register_buffer("bar", torch.zeros(absent.shape).masked_fill(absent, -1e4), persistent=False)
        self.words = nn.Linear(dim, vocabulary)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Logits [B, Q, widest] from features [B, L, D] and mask [B, L] (True on real tokens)."""
        queries = self.queries.expand(len(features), -1, -1)
        read, _ = self.attention(queries, features, features, key_padding_mask=~mask, need_weights=False)
        logits: Tensor = torch.einsum("bqd,qdc->bqc", read, self.heads).float() + self.bar
        return logits


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters; ``workers`` processes write ``blocks`` blocks of ``block`` captions, which are cycled."""

    batch: int = 1024
    rate: float = 2e-3
    blocks: int = 120
    block: int = 5000
    workers: int = 12
    masked: float = 0.15
    word_weight: float = 0.3


def losses(
    encoder: Umt5Encoder, reader: SlotReader, ids: Tensor, targets: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Slot loss and masked-word loss of token ids [B, L] int64."""
    ids = ids[:, : int((ids != PADDING).sum(1).max())]
    mask = ids != PADDING
    features = encoder(ids, mask)
    logits = reader(features, mask)
    stated = targets != IGNORED
    errors = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    slot_loss = (errors.view_as(targets).sum(0) / stated.sum(0).clamp_min(1)).sum()
    hidden = (torch.rand(ids.shape, device=ids.device) < recipe.masked) & (ids > MASK)
    restored = reader.words(encoder(torch.where(hidden, MASK, ids), mask)[hidden])
    return slot_loss, F.cross_entropy(restored.float(), ids[hidden])


@torch.no_grad()
def accuracy(encoder: Umt5Encoder, reader: SlotReader, ids: Tensor, targets: Tensor) -> float:
    """Share of slots read correctly from plain captions, which state everything."""
    right = total = 0
    for start in range(0, len(ids), 1024):
        part, truth = ids[start : start + 1024], targets[start : start + 1024]
        answers = reader(encoder(part, part != PADDING), part != PADDING).argmax(2)
        stated = truth != IGNORED
        right += int((answers == truth)[stated].sum())
        total += int(stated.sum())
    return right / total


def batches(blocks: list[tuple[Tensor, Tensor]], size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless random batches of (ids, targets)."""
    ids, targets = (torch.cat([block[i] for block in blocks]).to(device) for i in (0, 1))
    while True:
        order = torch.randperm(len(ids), device=device)
        for start in range(0, len(ids) - size + 1, size):
            part = order[start : start + size]
            yield ids[part].long(), targets[part].long()


def train(session: Session, recipe: Recipe, output: Path) -> None:
    """Train one session; leaves ``text.safetensors`` (averaged, fp32) and ``text.jsonl`` in ``output``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    jobs = [(1_000 + i, recipe.block) for i in range(recipe.blocks)]
    if recipe.workers > 1:
        with multiprocessing.get_context("spawn").Pool(recipe.workers) as pool:
            blocks = pool.map(caption_block, jobs)
    else:
        blocks = [caption_block(job) for job in jobs]
    plain = facts(sample_scenes(2048, torch.Generator().manual_seed(77), candidates=1).labels)
    writer = Captioner(0, plain=True)
    held_ids = encode_captions([writer(v) for v in plain]).to(device).long()
    held_targets = torch.tensor([slots(v) for v in plain], device=device)
    config = text_config()
    encoder = Umt5Encoder(config).to(device)
    initialise(encoder)
    reader = SlotReader(config.dim, config.vocab).to(device)
    both = nn.ModuleList([encoder, reader])
    average = Average(both, 0.998)
    optimiser = torch.optim.AdamW(both.parameters(), recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    curve, clock, step, shown = Curve(output / "text.jsonl"), Clock(session), 0, 0
    source = batches(blocks, recipe.batch, device)
    while not clock.finished:
        rate = session.rate(clock.progress, step)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * rate
        ids, targets = next(source)
        with mixed(device):
            slot_loss, word_loss = losses(encoder, reader, ids, targets, recipe)
        (slot_loss + recipe.word_weight * word_loss).backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(both)
        step += 1
        if clock.elapsed > shown * session.seconds / 6 or clock.finished:
            score = accuracy(encoder, reader, held_ids, held_targets)
            curve.note(step=step, slots=slot_loss.item(), words=word_loss.item(), accuracy=score)
            shown += 1
    average.copy_to(both)
    curve.note(event="end", steps=step, accuracy=accuracy(encoder, reader, held_ids, held_targets))
    save_tensors(output / "text.safetensors", dict(encoder.state_dict()))


def initialise(encoder: Umt5Encoder) -> None:
    """T5's own initialisation: projections without 1/√d scaling in attention need queries that are small."""
    config = encoder.config
    for name, parameter in encoder.named_parameters():
        if parameter.ndim < 2:
            nn.init.ones_(parameter)
        elif name.endswith("token_embedding.weight"):
            nn.init.normal_(parameter, std=1.0)
        elif name.endswith("attn.q.weight"):
            nn.init.normal_(parameter, std=(config.dim * config.dim_attn / config.heads) ** -0.5)
        elif name.endswith("pos_embedding.embedding.weight"):
            nn.init.normal_(parameter, std=(2 * config.buckets * config.heads) ** -0.5)
        else:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)


def load_text_encoder(path: Path, device: torch.device) -> Umt5Encoder:
    """A trained encoder, frozen."""
    encoder = Umt5Encoder(text_config())
    encoder.load_state_dict(load_tensors(path))
    return encoder.to(device).eval().requires_grad_(False)


def main() -> None:
    """Command line: ``python -m filmgate.training.text_encoder --seconds 100 --output runs/text``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    recipe = (
        Recipe(batch=64, blocks=4, block=500, workers=1) if args.smoke else Recipe(batch=args.batch, rate=args.rate)
    )
    train(Session(args.seconds, decay=0.5), recipe, args.output)


if __name__ == "__main__":
    main()
