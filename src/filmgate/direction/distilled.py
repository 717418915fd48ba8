"""Few-step presets: the schedules that distilled models and distilling LoRAs were trained for, as data.

Sources: the configurations of ModelTC/LightX2V (Lightning), hao-ai-lab/FastVideo (FastWan) and thu-ml/TurboDiffusion
(TurboWan). All of them paint without guidance, and are told float timesteps. What their code writes as the number of a
step at which the expert changes is a noise level here, between the two steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from filmgate.engine.sampling.schedules import TRAINING_STEPS, listed_sigmas, trig_levels
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import ModelDescription, Preset, Solver
from filmgate.spec.plan import Plan, Step
from filmgate.spec.request import Request


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A few-step preset.

    Attributes:
        levels: Noise levels of all steps before the shift.
        shift: Of the levels; 1 where the list is final.
        made_for: Beginnings of the variants whose distilled weights are published.
        solver: How to go from level to level.
        clock: What the network is told, where it is not 1000·sigma.
        boundary: Where the low-noise expert takes over, where the model's own does not do.
        undistilled: Steps at the start without LoRAs and with the model's own guidance.
        scaled_start: The noise at the start is multiplied by the first level.
        shorter: Fewer steps are the beginning of the list.
    """

    levels: tuple[float, ...]
    shift: float
    made_for: tuple[str, ...]
    solver: Solver = "euler"
    clock: tuple[float, ...] | None = None
    boundary: float | None = None
    undistilled: int = 0
    scaled_start: bool = False
    shorter: bool = False

    def on(self, preset: Preset) -> Preset:
        """A model's defaults with the preset's in their place."""
        return preset.model_copy(
            update={
                "steps": len(self.levels),
                "shift": self.shift,
                "solver": self.solver,
                "guidance_high": 1.0,
                "guidance_low": 1.0,
                "boundary": self.boundary if self.boundary is not None and preset.boundary is not None
                else preset.boundary,
            }
        )  # fmt: skip

    def sigmas(self, steps: int, shift: float) -> tuple[float, ...]:
        """Levels of the steps, and 0.

        Raises:
            InvalidRequest: another number of steps than the preset has.
        """
        most = len(self.levels)
        if not (1 <= steps <= most if self.shorter else steps == most):
            allowed = f"1 to {most}" if self.shorter else str(most)
            raise InvalidRequest(
                "steps", f"{steps} are not those of this few-step preset", allowed=allowed, nearest=str(most)
            )
        return listed_sigmas(self.levels[:steps], shift)

    def timesteps(self, levels: Sequence[float]) -> tuple[float, ...]:
        """What the network is told at ``levels``."""
        if self.clock is not None and levels == listed_sigmas(self.levels, self.shift)[:-1]:
            return self.clock
        return tuple(TRAINING_STEPS * level for level in levels)

    def started(self, steps: Sequence[Step], guidance: float) -> tuple[Step, ...]:
        """The steps with the undistilled ones at the start: guided, and without LoRAs. The distilled ones after them
        were trained without guidance and never get any."""
        undistilled, distilled = {"guidance": guidance, "adapted": False}, {"guidance": 1.0}
        return tuple(
            step.model_copy(update=undistilled if step.index < self.undistilled else distilled) for step in steps
        )


_LIGHTNING = ("wan2.2-t2v-a", "wan2.2-i2v-a", "wan2.1-t2v-", "wan2.1-i2v-")
_QUARTERS = (1.0, 0.75, 0.5, 0.25)

DISTILLED: Mapping[str, Distilled] = MappingProxyType(
    {
        "lightning": Distilled(levels=_QUARTERS, shift=5.0, made_for=_LIGHTNING),
        # Two steps of each expert: at this shift the levels are 1, 0.980, 0.941 and 0.842.
        "lightning-flf2v": Distilled(
            levels=_QUARTERS, shift=16.0, boundary=0.96, made_for=("wan2.2-i2v-a", "wan2.1-flf2v-")
        ),
        "lightning-2": Distilled(levels=(1.0, 0.5), shift=5.0, made_for=_LIGHTNING),
        # The first step of Lightning, which decides how much moves, as two guided steps of the undistilled expert.
        "hybrid": Distilled(levels=(1.0, 0.875, 0.75, 0.5, 0.25), shift=5.0, undistilled=2, made_for=_LIGHTNING),
        "fastwan": Distilled(
            levels=(1.0, 0.28, 0.12), shift=8.0, solver="lcm", clock=(1000.0, 757.0, 522.0),
            made_for=("wan2.1-t2v-", "wan2.2-ti2v-"),
        ),
        "turbowan-t2v": Distilled(
            levels=trig_levels(80.0), shift=1.0, solver="lcm", scaled_start=True, shorter=True,
            made_for=("wan2.1-t2v-",),
        ),
        "turbowan-i2v": Distilled(
            levels=trig_levels(200.0), shift=1.0, solver="lcm", boundary=0.9, scaled_start=True, shorter=True,
            made_for=("wan2.2-i2v-a",),
        ),
    }
)  # fmt: skip
"""By the name of the preset."""
NONE = "none"
"""No preset, where a model has one by default."""
_SAYS_OTHERWISE = (
    "steps", "shift", "solver", "guidance_high", "guidance_low", "guidance_method", "guidance_interval", "boundary",
    "strength",
)  # fmt: skip
_FIELDS = {"high_noise": "lora_high", "low_noise": "lora_low", "dense": "lora"}
_FEW = 2
"""Up to so many times the steps of a preset the full sampler does worse than the preset."""
_HINTS = ("distill", "lightning", "lightx2v", "fastwan", "turbo", "dmd", "rcm", "step")
"""Words in the names of models whose weights are distilled."""


def as_shipped(request: Request, model: ModelDescription) -> Request:
    """A wish with the LoRAs for few steps that its model comes with, where it asks for their preset and names none.

    A model may paint in few steps by default: then so does every wish that says nothing of steps, schedule, guidance or
    LoRAs. ``distilled="none"`` asks for the model without them, whatever its default.
    """
    few, asked = model.few_step, request.distilled
    if asked == NONE:
        return request.model_copy(update={"distilled": None})
    if few is None:
        return request
    if asked is None and few.default and all(getattr(request, name) is None for name in _SAYS_OTHERWISE):
        asked = None if _adapted(request) else few.preset
    if asked != few.preset or _adapted(request):
        return request
    own = {_FIELDS[name]: (LoraChoice(path=str(Path(model.path) / place)),) for name, place in few.loras}
    return request.model_copy(update={"distilled": asked, **own})


def _adapted(request: Request) -> bool:
    return bool(request.lora or request.lora_high or request.lora_low)


def distilled_of(name: str | None) -> Distilled | None:
    """A few-step preset by its name; None without one.

    Raises:
        UnknownName: there is no such preset.
    """
    if name is None:
        return None
    if name not in DISTILLED:
        raise UnknownName("distilled", name, DISTILLED, noun="few-step preset")
    return DISTILLED[name]


def check_start(name: str, preset: Distilled, plan: Plan) -> None:
    """Raise InvalidRequest if a preset leaves LoRAs out of its first steps, and there are none."""
    first = plan.steps[0].expert
    if preset.undistilled and not any(lora.expert == first for lora in plan.loras):
        raise InvalidRequest(
            "distilled",
            f"{name} begins without the LoRAs of the {first.replace('_', '-')} expert, and there are none",
            allowed="with a distilling LoRA; weights that are distilled themselves have no other side",
            nearest="lightning",
        )


def undistilled_warnings(plan: Plan) -> Iterator[str]:
    """Few steps of the full sampler, by a model that has LoRAs for few steps."""
    few = plan.model.few_step
    if few is None or plan.loras:
        return
    made_for = len(DISTILLED[few.preset].levels)
    if len(plan.steps) <= _FEW * made_for:
        yield (
            f"{len(plan.steps)} steps are few for the full sampler; {plan.model.id} has LoRAs that paint in {made_for}:"
            f" distilled={few.preset}"
        )


def distilled_warnings(name: str, preset: Distilled, plan: Plan) -> Iterator[str]:
    """What is probably not meant."""
    model: ModelDescription = plan.model
    if not model.variant.startswith(preset.made_for):
        yield f"{name} is not published for {model.variant}, but for {', '.join(f'{v}*' for v in preset.made_for)}"
    if not plan.loras and not any(hint in model.id.lower() for hint in _HINTS):
        yield f"{name} needs distilled weights or a distilling LoRA, and {model.id} has neither by its name"
    if plan.solver != preset.solver:
        yield f"{name} was distilled for the solver {preset.solver}; with {plan.solver} its steps end elsewhere"
