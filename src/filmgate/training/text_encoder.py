"""Pre-training of the toy family's text encoder: captions in, scene facts out; then it is frozen, as Wan freezes umT5.

Two tasks share the encoder: throw-away query heads read every label of the scene (a label that the caption leaves out
is predicted as well as its prior allows, which costs nothing), and masked words are restored from their context.
Legend: B captions, L tokens, D width, Q queries.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.engine.models.config import TextEncoderConfig
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.training.averaging import Average
from filmgate.training.precision import mixed
from filmgate.training.records import Curve, load_tensors, reached, save_tensors
from filmgate.training.schedule import Clock, Session, until
from filmgate.training.world import attributes as a
from filmgate.training.world.captions import Captioner, Facts, facts, with_few_terms
from filmgate.training.world.catalogue import FIRST, RICH, Catalogue, add_world_option
from filmgate.training.world.lexicon import AESTHETICS
from filmgate.training.world.scenes import sample_scenes
from filmgate.training.world.tokenizer import build_tokenizer

TEXT_LENGTH = 64
PADDING, END, MASK = 0, 1, 2


def text_config(world: Catalogue = FIRST) -> TextEncoderConfig:
    """The toy text encoder for the words of a world: umT5 with width 192, 4 layers, 6 heads."""
    return _config(build_tokenizer(world).get_vocab_size())


def _config(vocabulary: int) -> TextEncoderConfig:
    return TextEncoderConfig(
        vocab=vocabulary, dim=192, dim_attn=192, dim_ffn=512, heads=6, layers=4, buckets=32, text_len=TEXT_LENGTH
    )


def slot_sizes(world: Catalogue) -> tuple[int, ...]:
    """Classes of each query: count, alike, relation, five per object, camera, light, ground; in richer worlds then
    weather, pace, the character's hat (its last class: none) and the aesthetic terms that captions of it state."""
    by_object = (len(world.colours), len(world.shapes), len(world.materials), len(world.sizes), len(world.motions))
    sizes = (4, 2, len(world.relations), *(by_object * a.SLOTS))
    sizes += (len(world.cameras), len(world.lights), len(world.grounds))
    if not world.rich:
        return sizes
    return (
        *sizes, len(world.weathers), len(world.paces), len(world.colours) + 1,
        *(len(AESTHETICS[slot]) for slot in world.clauses),
    )  # fmt: skip


SLOT_SIZES = slot_sizes(FIRST)
"""Of the first world."""
IGNORED = -100


def slots(scene: Facts, world: Catalogue = FIRST) -> list[int]:
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
    row += [a.CAMERAS.index(scene.camera), list(a.LIGHTS).index(scene.light), list(a.GROUNDS).index(scene.ground)]
    return [*row, *_rich_slots(scene, world)] if world.rich else row


def _rich_slots(scene: Facts, world: Catalogue) -> list[int]:
    characters = [thing for thing in scene.things if thing.shape in a.CHARACTERS]
    hat = IGNORED
    if characters:
        hat = a.NO_HAT if characters[0].hat is None else list(a.COLOURS).index(characters[0].hat)
    said = dict(scene.aesthetics)
    terms = [
        list(AESTHETICS[slot]).index(said[slot]) if slot in said else IGNORED for slot in world.clauses
    ]  # what is not to be said has no class of its own
    return [a.WEATHERS.index(scene.weather), a.PACES.index(scene.pace), hat, *terms]


def encode_captions(texts: list[str], world: Catalogue = FIRST) -> Tensor:
    """Token ids [N, TEXT_LENGTH] int16, zero-padded; a caption that is too long loses its end, not its end mark."""
    tokenizer = build_tokenizer(world)
    tokenizer.enable_truncation(TEXT_LENGTH)
    tokenizer.enable_padding(length=TEXT_LENGTH, pad_id=PADDING)
    return torch.tensor([e.ids for e in tokenizer.encode_batch(texts)], dtype=torch.int16)


def caption_block(arguments: tuple[int, int, Catalogue]) -> tuple[Tensor, Tensor]:
    """``count`` random captions with their slots from ``seed``: ids [N, L] int16, targets [N, Q] int8-safe int16."""
    seed, count, world = arguments
    torch.set_num_threads(1)
    scenes = sample_scenes(count, torch.Generator().manual_seed(seed), candidates=1, world=world)
    values, writer = facts(scenes.labels, world), Captioner(seed, world=world)
    targets = torch.tensor([slots(v, world) for v in values], dtype=torch.int16)
    return encode_captions([writer(v) for v in values], world), targets


class SlotReader(nn.Module):
    """Reads slots from encoder output with learned queries; thrown away after pre-training."""

    bar: Tensor

    def __init__(self, dim: int, vocabulary: int, sizes: tuple[int, ...] = SLOT_SIZES) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(sizes), dim) * 0.02)
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        widest = max(sizes)
        self.heads = nn.Parameter(torch.randn(len(sizes), dim, widest) * dim**-0.5)
        # Queries with fewer classes than the widest never choose the rest.
        absent = torch.arange(widest) >= torch.tensor(sizes)[:, None]
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
    world: Catalogue = RICH


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


def train(session: Session, recipe: Recipe, output: Path, end: float = math.inf) -> None:
    """Train one session; leaves ``text.safetensors`` (averaged, fp32) and ``text.jsonl`` in ``output``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    world = recipe.world
    jobs = [(1_000 + i, recipe.block, world) for i in range(recipe.blocks)]
    if recipe.workers > 1:
        with multiprocessing.get_context("spawn").Pool(recipe.workers) as pool:
            blocks = pool.map(caption_block, jobs)
    else:
        blocks = [caption_block(job) for job in jobs]
    held_out = sample_scenes(2048, torch.Generator().manual_seed(77), candidates=1, world=world)
    plain = with_few_terms(facts(held_out.labels, world), 0)
    writer = Captioner(0, plain=True, world=world)
    held_ids = encode_captions([writer(v) for v in plain], world).to(device).long()
    held_targets = torch.tensor([slots(v, world) for v in plain], device=device)
    config = text_config(world)
    encoder = Umt5Encoder(config).to(device)
    initialise(encoder)
    reader = SlotReader(config.dim, config.vocab, slot_sizes(world)).to(device)
    both = nn.ModuleList([encoder, reader])
    average = Average(both, 0.998)
    optimiser = torch.optim.AdamW(both.parameters(), recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    curve, clock, step, shown = Curve(output / "text.jsonl"), Clock(session, until=end), 0, 0
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
    save_tensors(output / "text.safetensors", dict(encoder.state_dict()), reached(clock.progress))


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
    """A trained encoder, frozen; how many words it knows is in its weights."""
    tensors = load_tensors(path)
    encoder = Umt5Encoder(_config(len(tensors["token_embedding.weight"])))
    encoder.load_state_dict(tensors)
    return encoder.to(device).eval().requires_grad_(False)


def main() -> None:
    """Command line: ``python -m filmgate.training.text_encoder --seconds 100 --output runs/text``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--deadline", type=float, help="but no longer than so long after the start of the process")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    add_world_option(parser)
    parser.add_argument("--smoke", action="store_true")
    args, began = parser.parse_args(), time.monotonic()
    recipe = (
        Recipe(batch=64, blocks=4, block=500, workers=1) if args.smoke else Recipe(batch=args.batch, rate=args.rate)
    )
    train(Session(args.seconds, decay=0.5), replace(recipe, world=args.world), args.output, until(began, args.deadline))


if __name__ == "__main__":
    main()
