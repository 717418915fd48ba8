"""The transformer as it is trained: with an auxiliary head, an initialisation or a parent, and its optimisers.

Legend: B clips, K patch tokens, D width, S object slots, A attributes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.spec.errors import MissingTensor, UnexpectedTensor, WrongShape
from filmgate.training.members import T2V, Member
from filmgate.training.muon import Muon
from filmgate.training.ray_features import begin_quietly, begin_with_components
from filmgate.training.records import load_tensors
from filmgate.training.world.catalogue import FIRST, RICH, Catalogue
from filmgate.training.world.scenes import Labels

Item = TypeVar("Item")
ADAPTER, PATCHES, HEAD = "dit.control_adapter.", "dit.patch_embedding.weight", "head.linear.weight"
BLOCK, OUTWARD = re.compile(r"((?:dit\.)?blocks\.)(\d+)(\..+)"), (".self_attn.o.", ".cross_attn.o.", ".ffn.2.")
"""Names of what blocks have, and of that by which they add to the tokens."""
UNALIGNED = 0.8
"""Share of a schedule from which on a model learns from its clips alone."""


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters. ``low`` and ``high`` bound the noise levels (sigmas) of this run; ``overlap`` widens an
    expert's range on the unshifted axis, so that the boundary can be moved a little after training; ``learn`` says how
    the names of the tensors begin that learn (none: all do)."""

    rate: float = 8e-4
    matrix_rate: float = 2e-3
    muon: bool = True
    average: float = 0.999
    low: float = 0.0
    high: float = 1.0
    overlap: float = 0.04
    no_text: float = 0.10
    alignment: float = 0.5
    batch: int = 512
    buffer: int = 100_000
    refresh_every: int = 96
    judged: int = 640
    seed: int = 1
    world: Catalogue = RICH
    member: Member = T2V
    learn: tuple[str, ...] = ()

    @property
    def alignment_layer(self) -> int:
        """Blocks before the auxiliary head: half of them."""
        return self.member.dit.num_layers // 2

    def aligned(self, progress: float) -> float:
        """How much the alignment loss counts at this share of the schedule.

        Nothing at its end; and nothing where the auxiliary head does not learn: published weights have none, and one
        that began anew and stays as it is would bend what learns before it.
        """
        learns = not self.learn or HEAD.startswith(self.learn)
        return self.alignment if learns and progress < UNALIGNED else 0.0


class AlignmentHead(nn.Module):
    """Reads colours, shapes and presence (1) per patch from hidden tokens [B, K, D]."""

    def __init__(self, dim: int, world: Catalogue) -> None:
        super().__init__()
        self.world = world
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.linear = nn.Linear(dim, len(world.colours) + len(world.shapes) + 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits [B, K, A]."""
        result: Tensor = self.linear(self.norm(hidden.float()))
        return result


def alignment_target(cover: Tensor, labels: Labels, world: Catalogue = FIRST) -> Tensor:
    """Soft targets [B, K, A], colours, shapes and presence, from coverage [B, K, S]: attributes of the covering
    objects, weighted by how much of the patch they cover."""
    colour = F.one_hot(labels.colour, len(world.colours)).float()
    shape = F.one_hot(labels.shape, len(world.shapes)).float()
    presence = torch.ones_like(colour[..., :1])
    return (cover @ torch.cat([colour, shape, presence], -1)).clamp(0, 1)


class Trainee(nn.Module):
    """The transformer with its auxiliary head and a tap in the middle."""

    def __init__(self, config: DitConfig, layer: int, world: Catalogue) -> None:
        super().__init__()
        self.dit = WanDiT(config)
        self.head = AlignmentHead(config.dim, world)
        self._tap: list[Tensor] = []
        self.dit.blocks[layer - 1].register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self._tap[:] = [output]

    def forward(
        self, x: Tensor, timestep: Tensor, context: Tensor, control: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Velocity and alignment logits."""
        velocity = self.dit(x, timestep, context, control=control)
        return velocity, self.head(self._tap.pop())


def new_trainee(
    recipe: Recipe, resume: Sequence[Path], device: torch.device, *, compiled: bool, rays: Tensor | None = None
) -> Trainee:
    """A model to train, freshly initialised, or from files of an earlier session or of its parent (see
    :func:`merged`).

    Args:
        rays: Some of those that it will read [B, 24, T, H, W], of which its adapter's first layer is made.
    """
    torch.manual_seed(recipe.seed)
    model = Trainee(recipe.member.dit, recipe.alignment_layer, recipe.world).to(device)
    initialise(model.dit)
    if rays is not None:
        begin_with_components(model.dit.control_adapter, rays, recipe.seed)
    if resume:
        model.load_state_dict(merged(resume, model.state_dict()))
    if recipe.learn:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(recipe.learn))
    if compiled:
        for block in model.dit.blocks:
            block.forward = torch.compile(block.forward, dynamic=False)  # hooks stay outside
    return model


def optimisers(model: Trainee, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, modulation, norms, biases and the head.

    Convolutions of an adapter read thousands of numbers that are nearly alike, the rays of a patch: at the rate of the
    others one step would add as much to a token as is in it. Their rate falls with what they read, as that of layers
    that grow wider does (arXiv 2203.03466).
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if recipe.muon and n.startswith("dit.blocks.") and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    wide = {id(p): p[0].numel() for n, p in named if n.startswith(ADAPTER) and p.ndim == 4}
    rest = [p for _, p in named if id(p) not in chosen and id(p) not in wide]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": 0.01},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        *({"params": [p for _, p in named if wide.get(id(p)) == reads], "weight_decay": 0.01,
           "lr": recipe.rate * min(1.0, recipe.member.dit.dim / reads)} for reads in sorted(set(wide.values()))),
    ]  # fmt: skip
    # Fused, AdamW is one launch instead of hundreds, which a step of small layers would wait for.
    result: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, recipe.rate, betas=(0.9, 0.95), fused=True)]
    return [*result, Muon(matrices, recipe.matrix_rate, weight_decay=0.01)] if matrices else result


def initialise(dit: WanDiT) -> None:
    """Wan's initialisation: Xavier for linear layers, small normal for text and time embeddings, zero for the head."""
    for module in dit.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(dit.patch_embedding.weight.data.flatten(1))
    for embedding in (dit.text_embedding, dit.time_embedding):
        for module in embedding:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
    for name, parameter in dit.named_parameters():
        if name.endswith("modulation"):
            nn.init.normal_(parameter, std=dit.config.dim**-0.5)
    nn.init.zeros_(dit.head.head.weight)
    if dit.config.camera_scale is not None:
        begin_quietly(dit.control_adapter)


def merged(files: Sequence[Path], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of files, those of later ones in the place of earlier ones': a parent, then what a child changed.

    Args:
        own: Names, shapes and values of the model that they are for, as in :func:`grown`; of a transformer alone, or
            with its auxiliary head.
    """
    whole = "dit.head.head.weight" in own
    found = {name: tensor for file in files for name, tensor in under_run_names(load_tensors(file)).items()
             if whole or name.startswith("dit.")}  # fmt: skip
    if _depth(own) == 2 * _depth(found):
        found = deeper(found)
    if whole:
        return grown(found, own, files[-1])
    result = grown(found, {f"dit.{name}": tensor for name, tensor in own.items()}, files[-1])
    return {name.removeprefix("dit."): tensor for name, tensor in result.items()}


def deeper(parent: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A parent's tensors for a child of twice as many blocks that begins as its parent does.

    Behind every block stands a copy that adds nothing, because its outward projections are zero (block expansion; Wu et
    al., arXiv 2401.02415).
    """
    result = {}
    for name, tensor in parent.items():
        if block := BLOCK.match(name):
            before, number, rest = block.groups()
            result[f"{before}{2 * int(number)}{rest}"] = tensor
            copied = torch.zeros_like(tensor) if rest.startswith(OUTWARD) else tensor.clone()
            result[f"{before}{2 * int(number) + 1}{rest}"] = copied
        else:
            result[name] = tensor
    return result


def _depth(tensors: Mapping[str, Item]) -> int:
    """How many blocks there are."""
    return len({block[2] for name in tensors if (block := BLOCK.match(name))})


def under_run_names(tensors: Mapping[str, Item]) -> dict[str, Item]:
    """Tensors of a run or of a published model, or what is said of them, under a run's names."""
    run = any(name.startswith("dit.") for name in tensors)
    return {name if run else f"dit.{name}": tensor for name, tensor in tensors.items()}


def with_channels(patches: Tensor, count: int) -> Tensor:
    """Weights of a patch embedding for ``count`` channels: the first of them, or zeros for those that are new.

    Cut or filled up it gives the same where the others are zero, as they are where no frame is known.
    """
    return F.pad(patches, (0, 0) * 3 + (0, count - patches.shape[1]))


def grown(parent: Mapping[str, Tensor], own: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Tensors to begin with: the parent's, with zeros for the channels that only the child reads.

    A child then starts exactly as its parent, whatever it is told beside the text. A child that is told less than its
    parent gets the channels that it reads: it paints as the parent does that is told nothing. Tensors of a published
    model, which has no auxiliary head, are a parent too; a head for another world's labels is left out.

    Args:
        parent: What there is.
        own: What the new model has: names, shapes, and the values of what the parent lacks.
        source: What to call the parent in an error.

    Raises:
        WrongShape: The parent is of another size.
    """
    named, result = under_run_names(parent), dict(own)
    for name, tensor in named.items():
        if name not in own:
            raise UnexpectedTensor(source, "not the parent of this member", key=name)
        wanted, found = own[name].shape, tensor
        if name == PATCHES and tensor.shape[2:] == wanted[2:] and tensor.shape[0] == wanted[0]:
            found = with_channels(tensor, wanted[1])
        if found.shape == wanted:
            result[name] = found
        elif not name.startswith("head."):
            raise WrongShape(source, "of another size", key=name, expected=tuple(wanted), found=tuple(tensor.shape))
    if missing := [name for name in own if name not in named and not name.startswith((ADAPTER, "head."))]:
        raise MissingTensor(source, "not the parent of this member", key=missing[0])
    return result
