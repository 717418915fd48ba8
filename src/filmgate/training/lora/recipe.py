"""What decides a fine-tuning run, and what it says while it goes on. Does not need torch.

A recipe is written in Python, in a file that ``--config`` names, or changed option by option:

    recipe = LoraRecipe(rank=16, steps=800, targets=("attention",))
"""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import ExpertName, Precision
from filmgate.spec.shape import Frozen

Dialect = Literal["comfyui", "diffusers", "kohya"]
Experts = Literal["both", "high_noise", "low_noise"]
CONFIG_NAME = "recipe"
"""What a configuration file calls its recipe."""


class LoraRecipe(Frozen):
    """How a LoRA is trained. What is None comes from the model; noise levels are sigmas."""

    rank: int = Field(default=16, ge=1, description="Rank of every pair of factors.")
    alpha: float | None = Field(
        default=None, gt=0, description="The change is alpha / rank times up·down; none: the rank."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of the inputs of the factors that is dropped.")
    targets: tuple[str, ...] = Field(
        default=("attention", "ffn"),
        min_length=1,
        description="Layers that are changed: attention, self_attention, cross_attention, ffn, all, or patterns as"
        " blocks.[0-3].*.q.",
    )
    expert: Experts = Field(
        default="both", description="Of a pair: both, high_noise or low_noise, one after the other."
    )
    steps: int = Field(default=500, ge=1, description="Steps of the optimiser, for each expert.")
    batch: int = Field(default=2, ge=1, description="Clips of a step, over all processes.")
    micro_batch: int = Field(
        default=1, ge=1, description="Clips that go through the network at once; the rest accumulates."
    )
    rate: float = Field(default=2e-4, gt=0, description="Highest learning rate.")
    warm_up: int = Field(default=20, ge=0, description="Steps over which the rate rises to its highest.")
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="How it goes on: cosine or constant.")
    weight_decay: float = Field(default=0.01, ge=0, description="Of AdamW.")
    clip_norm: float = Field(default=1.0, gt=0, description="Longest gradient; a longer one is shortened to it.")
    average: float = Field(
        default=0.98, ge=0, lt=1, description="Decay of the moving average that is saved; 0: the last step."
    )
    no_text: float = Field(default=0.1, ge=0, le=1, description="Share of clips that are shown without their caption.")
    first_frame: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share that begins from a known frame, in models with a timestep per token.",
    )
    noise: Literal["uniform", "logit_normal"] = Field(
        default="uniform", description="Distribution of noise levels before the shift: uniform or logit_normal."
    )
    shift: float | None = Field(default=None, gt=0, description="Shift of noise levels; none: the model's.")
    boundary: float | None = Field(default=None, gt=0, lt=1, description="Where the experts part; none: the model's.")
    size: tuple[int, int] | None = Field(default=None, description="Width and height; none: the model's first size.")
    buckets: bool = Field(default=True, description="Keep the proportions of clips, at the area of the size.")
    frames: int | None = Field(default=None, ge=1, description="Longest clip, 4n+1 frames; none: the model's length.")
    fps: int | None = Field(default=None, ge=1, description="Speed at which clips are read; none: the model's.")
    long: Literal["first", "all"] = Field(
        default="first", description="Of clips that are longer: the first part, or all parts one after the other."
    )
    held_out: int = Field(default=0, ge=0, description="Clips at the end of the list that are only validated on.")
    precision: Precision | None = Field(default=None, description="Of the large layers: fp32 or bf16; none: what fits.")
    weights: Literal["as_computed", "as_stored"] = Field(
        default="as_computed", description="as_stored: fp8 and GGUF weights stay in few bits."
    )
    checkpointing: bool | None = Field(
        default=None,
        description="Compute blocks again instead of keeping what is inside; none: for a billion parameters up.",
    )
    seed: int = Field(default=0, ge=0, description="Of everything that is drawn.")
    save_every: int = Field(default=100, ge=1, description="Steps between two states to go on from.")
    judge_every: int = Field(default=100, ge=1, description="Steps between two measurements at fixed noise levels.")
    sample_every: int = Field(default=0, ge=0, description="Steps between two contact sheets; 0: one at the end.")
    samples: int = Field(default=2, ge=0, description="Captions that contact sheets paint; 0: no sheets.")
    sample_prompts: tuple[str, ...] = Field(default=(), description="Prompts to paint instead, for text to video.")
    dialect: Dialect = Field(default="comfyui", description="Names in the file: comfyui, diffusers or kohya.")
    save_as: Literal["fp32", "bf16", "fp16"] | None = Field(
        default=None, description="Numbers in the file; none: as the large layers."
    )

    @field_validator("targets", "sample_prompts", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("size", mode="before")
    @classmethod
    def _sides(cls, value: Any) -> Any:
        return tuple(value.lower().split("x")) if isinstance(value, str) else value

    @property
    def scale(self) -> float:
        """What up·down is multiplied by."""
        return (self.rank if self.alpha is None else self.alpha) / self.rank

    def changed(self, changes: Mapping[str, Any]) -> LoraRecipe:
        """With some fields replaced; texts are read as the fields' types, ``none`` as None.

        Raises:
            UnknownName: there is no such field.
            InvalidRequest: a value is out of range.
        """
        for name in changes:
            if name not in LoraRecipe.model_fields:
                raise UnknownName("set", name, LoraRecipe.model_fields, noun="field of a recipe")
        given = {name: None if value == "none" else value for name, value in changes.items()}
        try:
            return LoraRecipe.model_validate(self.model_dump() | given)
        except ValidationError as error:
            raise _refused(error.errors()[0]) from error


def _refused(error: ErrorDetails) -> InvalidRequest:
    """What is wrong with a field, and what it may be."""
    name, value, limits = str(error["loc"][0]), error["input"], error.get("ctx", {})
    field = LoraRecipe.model_fields[name]
    nearest = None
    match error["type"]:
        case "literal_error":
            choices = [choice for kind in (field.annotation, *get_args(field.annotation)) for choice in get_args(kind)]
            return UnknownName(name, str(value), [choice for choice in choices if isinstance(choice, str)])
        case "greater_than_equal":
            allowed, nearest = f"at least {limits['ge']}", str(limits["ge"])
        case "less_than_equal":
            allowed, nearest = f"at most {limits['le']}", str(limits["le"])
        case "greater_than":
            allowed = f"more than {limits['gt']}"
        case "less_than":
            allowed = f"less than {limits['lt']}"
        case "int_parsing" | "int_from_float":
            allowed = "a whole number"
        case "float_parsing":
            allowed = "a number"
        case "bool_parsing":
            allowed = "true or false"
        case _:
            allowed = field.description or error["msg"]
    return InvalidRequest(name, f"{value!r} is not possible", allowed=allowed, nearest=nearest)


#: What a recipe says of how often something is written or looked at: it may change between two sittings.
WATCHING = ("save_every", "judge_every", "sample_every", "samples", "sample_prompts", "dialect", "save_as")


def parse_changes(pairs: Iterable[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as fields of a recipe.

    Raises:
        InvalidRequest: one has no ``=``.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidRequest("set", f"{pair!r} sets nothing", allowed="NAME=VALUE, as warm_up=50")
        found[name.strip().replace("-", "_")] = value.strip()
    return found


def read_recipe(path: Path) -> LoraRecipe:
    """The recipe of a configuration file: the value called ``recipe`` of a Python file, which is executed.

    Raises:
        InvalidRequest: there is no such file, it does not run, or has no recipe.
    """
    if not path.is_file():
        raise InvalidRequest("config", f"{path} is not a file", allowed="a Python file that has a recipe")
    try:
        found = runpy.run_path(str(path)).get(CONFIG_NAME)
    except Exception as error:  # whatever somebody's file raises is that file's fault
        raise InvalidRequest("config", f"{path} does not run: {type(error).__name__}: {error}") from error
    if not isinstance(found, LoraRecipe):
        raise InvalidRequest(
            "config", f"{path} has no recipe",
            allowed="from filmgate.training.lora.recipe import LoraRecipe; recipe = LoraRecipe(rank=16)",
        )  # fmt: skip
    return found


class Encoded(NamedTuple):
    """A clip was encoded, or was known already: ``done`` of ``total``."""

    done: int
    total: int
    seconds: float


class Stepped(NamedTuple):
    """A step was taken. ``gradient`` is its length before it was shortened; ``eta`` are seconds until the last one."""

    expert: ExpertName
    step: int
    steps: int
    loss: float
    rate: float
    gradient: float
    seconds: float
    eta: float


class Judged(NamedTuple):
    """What the averaged weights reach: loss at fixed noise levels, and that of the base there; ``sheet`` if painted."""

    expert: ExpertName
    step: int
    loss: float
    base: float
    sheet: Path | None


class Noted(NamedTuple):
    """Something that a person should know."""

    text: str


class Written(NamedTuple):
    """The LoRA of an expert is finished."""

    expert: ExpertName
    path: Path


TrainingEvent = Encoded | Stepped | Judged | Noted | Written
