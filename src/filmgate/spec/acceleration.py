"""Ways to skip work, or to do it less precisely, that change the video a little, the gates that they must pass, and
what a plan makes of both.

An acceleration is a value. A *recipe* says which ones are on in the steps of which expert; what a gate has measured is
a recipe as a whole, because errors add up. A new acceleration is a class here, a member of :data:`Acceleration`, and
whatever carries it out.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from filmgate.spec.model import ExpertName, Operation, Precision, Solver
from filmgate.spec.shape import Frozen, VideoShape
from filmgate.spec.speed import SpeedProfile

Share = Annotated[float, Field(ge=0, le=1)]
GateLevel = Literal["forward", "trajectory", "truth"]
"""What is compared: one velocity on an input of a real trajectory; latents after some steps; finished videos and what
they show."""
_HEIGHTS = (96, 144, 240, 360, 480, 720, 1080)


class MagCache(Frozen):
    """Adds the residual of all blocks from an earlier step where its magnitude is known to change little
    (arXiv 2506.09045, github.com/Zehong-Ma/MagCache).

    The ratios of magnitudes between steps come from a :class:`Calibration`. Steps are skipped while the errors
    |1 - product of ratios| since the last computed step add up to less than ``threshold``, at most ``longest`` in a
    row, and none of the first ``protected`` share of an expert's steps.
    """

    kind: Literal["magcache"] = "magcache"
    threshold: float = Field(default=0.06, ge=0)
    longest: int = Field(default=2, ge=1)
    protected: Share = 0.2


class TaylorSeer(Frozen):
    """Predicts the residual of all blocks by a Taylor polynomial of finite differences between computed steps
    (arXiv 2503.06923, github.com/Shenyi-Z/TaylorSeer, which does it for every layer).

    After the first ``protected`` steps of an expert every ``interval``-th step is computed; ``order`` is the degree.
    """

    kind: Literal["taylorseer"] = "taylorseer"
    interval: int = Field(default=2, ge=1)
    order: int = Field(default=1, ge=0, le=3)
    protected: int = Field(default=3, ge=1)


class GuidanceReuse(Frozen):
    """Late steps take the difference between prompt and negative prompt from an earlier one, which saves a pass.

    In the steps from the share ``after`` of all steps on, the difference is computed every ``interval``-th time (in the
    manner of FasterCache, arXiv 2410.19355, without its correction by frequency).
    """

    kind: Literal["guidance_reuse"] = "guidance_reuse"
    after: Share = 0.5
    interval: int = Field(default=2, ge=1)


class SparseAttention(Frozen):
    """Every block of 128 queries reads the share ``budget`` of the blocks of keys, chosen in every pass from mean
    queries and keys, and the others as one mean key and value each.

    Not in the first ``protected`` share of all steps, which decide what a video shows, nor in ``dense_blocks`` of the
    network. Lists are chosen anew in every ``refresh``-th step and with every change of experts; above 1, a run that is
    resumed within is not the same to the bit. With ``per_head`` heads that spread their attention read up to twice
    ``budget``, and others half of it. ``radial`` is the weight of a second guess, from the place alone: blocks that are
    far apart in space or time are read less. Videos of a few blocks are read whole.
    """

    kind: Literal["sparse_attention"] = "sparse_attention"
    budget: float = Field(default=0.3, ge=0.01, le=1)
    protected: Share = 0.2
    dense_blocks: tuple[int, ...] = (0,)
    refresh: int = Field(default=1, ge=1)
    # These came later, and are said only where they change something: plans and gates of before keep their hashes.
    per_head: bool = Field(default=False, exclude_if=lambda wanted: not wanted)
    radial: float = Field(default=0.0, ge=0, allow_inf_nan=False, exclude_if=lambda weight: not weight)


class EightBit(Frozen):
    """Matrix products (``linear``) and self-attention (``attention``) of a pass in e4m3 with fp32 sums, the layers that
    a model says are sensitive left out.

    Not in the first ``protected`` share of all steps, nor in the ``last`` ones. Steps that are left out need the
    original weights beside the rounded ones.
    """

    kind: Literal["eight_bit"] = "eight_bit"
    linear: bool = True
    attention: bool = True
    protected: Share = 0.0
    last: int = Field(default=0, ge=0)


Acceleration = Annotated[
    MagCache | TaylorSeer | GuidanceReuse | SparseAttention | EightBit, Field(discriminator="kind")
]  # fmt: skip


class AccelerationUse(Frozen):
    """An acceleration in the steps of one expert."""

    expert: ExpertName
    acceleration: Acceleration


Recipe = tuple[AccelerationUse, ...]


class Scope(Frozen):
    """What a measurement holds for; nothing else. ``weights`` is one SHA-256 over those of the experts' files,
    ``grid`` one over the noise levels of all steps, ``resolution`` a class of frame sizes
    (:func:`resolution_class`). ``latent_frames`` is how long the videos were (0: not noted, as in documents of version
    1), ``precision`` that of the transformer's arithmetic (None: not noted)."""

    model: str
    weights: str
    operation: Operation
    shift: float
    boundary: float | None
    solver: Solver
    steps: int
    grid: str
    guidance: tuple[float, ...]
    resolution: str
    latent_frames: int = Field(default=0, ge=0)
    precision: Precision | None = None


class StepWork(Frozen):
    """How a step gets its velocity.

    ``blocks``: computed; reused, the residual of the last computed step being added in their place; or predicted from
    several of these. ``difference``: between prompt and negative prompt, computed (by whatever the blocks say) or kept
    from an earlier step.
    """

    blocks: Literal["computed", "reused", "predicted"] = "computed"
    difference: Literal["computed", "kept"] = "computed"


class BranchRatios(Frozen):
    """How the magnitude of the residual of all blocks changes: for every step its mean over tokens of the ratio of
    norms to the step before, 1 where there is none. ``deviation`` is that of the ratios among tokens, ``distance`` the
    mean of 1 - cosine."""

    expert: ExpertName
    branch: Literal["conditional", "unconditional"]
    first: int
    ratios: tuple[float, ...]
    deviation: tuple[float, ...] = ()
    distance: tuple[float, ...] = ()


class Calibration(Frozen):
    """Ratios that real trajectories have shown, for a scope."""

    version: int = 2
    scope: Scope
    ratios: tuple[BranchRatios, ...]
    prompts: int
    created: str
    versions: str
    hardware: str

    @property
    def id(self) -> str:
        """The beginning of the SHA-256 of all that it says."""
        return _id(self)


class GateCheck(Frozen):
    """A number beside its limit, and on which side of it the number must stay. ``low`` and ``high`` are the ends of its
    95 % interval, of which the worse one must keep the limit. There is none (None) on one prompt: it does not pass."""

    level: GateLevel
    name: str
    value: float
    bound: Literal["at most", "at least"]
    limit: float
    passed: bool
    low: float | None = None
    high: float | None = None
    samples: int = 1


class Gate(Frozen):
    """A recipe measured against the same takes without it, at the limits of a profile. ``reason`` says in words why it
    passed or failed. ``saved`` is the share of the work in passes that it saves: of those that pass, the one that saves
    most is taken. ``work`` is what was skipped, step by step (empty: not noted): with other ratios MagCache skips
    others."""

    version: int = 2
    scope: Scope
    recipe: Recipe
    profile: SpeedProfile
    passed: bool
    reason: str
    checks: tuple[GateCheck, ...]
    saved: float
    work: tuple[StepWork, ...] = ()
    created: str
    versions: str
    hardware: str

    @property
    def id(self) -> str:
        """Names it in a manifest: the beginning of the SHA-256 of all that it says."""
        return _id(self)


def _id(document: Frozen) -> str:
    return hashlib.sha256(document.model_dump_json().encode()).hexdigest()[:16]


class RecipeChoice(Frozen):
    """A recipe that was considered, and why it was taken or not."""

    recipe: Recipe
    taken: bool
    reason: str


class PassCounts(Frozen):
    """Passes of the transformer by what became of them: ``kept`` are those that a kept difference of guidance saved."""

    computed: int = 0
    reused: int = 0
    predicted: int = 0
    kept: int = 0

    @property
    def total(self) -> int:
        """As many as there are without acceleration."""
        return self.computed + self.reused + self.predicted + self.kept


class AccelerationPlan(Frozen):
    """What is skipped, step by step: it is known before the first one. ``work`` is empty where all is computed;
    ``gates`` are the ids of what ``recipe`` relies on, ``considered`` says why others are off."""

    profile: SpeedProfile = "exact"
    recipe: Recipe = ()
    work: tuple[StepWork, ...] = ()
    gates: tuple[str, ...] = ()
    considered: tuple[RecipeChoice, ...] = ()


def resolution_class(video: VideoShape) -> str:
    """The usual height whose 16:9 frame has the area nearest to a video's, by ratio: ``480p``, ``720p``, ..."""
    height: float = (video.width * video.height * 9 / 16) ** 0.5
    return f"{min(_HEIGHTS, key=lambda usual: max(usual / height, height / usual))}p"
