"""Frozen nouns that every room shares. Imports nobody."""

from filmgate.spec.acceleration import (
    Acceleration,
    AccelerationPlan,
    AccelerationUse,
    BranchRatios,
    Calibration,
    EightBit,
    Gate,
    GateCheck,
    GateLevel,
    GuidanceReuse,
    MagCache,
    PassCounts,
    Recipe,
    RecipeChoice,
    Scope,
    SparseAttention,
    StepWork,
    TaylorSeer,
    resolution_class,
)
from filmgate.spec.adapters import GuidanceMethod, GuidanceRule, LoraChoice, LoraUse
from filmgate.spec.errors import (
    BackendError,
    CheckpointError,
    DamagedFile,
    DeviceError,
    FilmgateError,
    InvalidRequest,
    MissingFile,
    MissingTensor,
    NotFinite,
    OutputError,
    UnexpectedTensor,
    UnknownName,
    UnsafeCheckpoint,
    WrongDtype,
    WrongShape,
    WrongVariant,
)
from filmgate.spec.estimates import Basis, MemoryEstimate, ResidencyOption, TimeEstimate
from filmgate.spec.events import Done, Event, Failed, Preview, Progress, Stage, Started
from filmgate.spec.inputs import InputFile, InputRole
from filmgate.spec.layout import Layout
from filmgate.spec.model import (
    Capabilities,
    DeviceDescription,
    DitDimensions,
    ExpertDescription,
    ExpertName,
    FewStep,
    Keep,
    ModelDescription,
    Operation,
    Precision,
    Preset,
    Solver,
    Task,
)
from filmgate.spec.plan import Plan, Step
from filmgate.spec.request import Request
from filmgate.spec.residency import HostPlace, MemoryMode, ResidencyPlan, TextEncoderPlace, WeightFormat
from filmgate.spec.shape import Compression, Frozen, LatentShape, VideoShape
from filmgate.spec.speed import AttentionKernel, KernelProfile, SpeedPlan, SpeedProfile
from filmgate.spec.take import FileRecord, Measurement, Report, Take, Timings

__all__ = [
    "Acceleration", "AccelerationPlan", "AccelerationUse", "AttentionKernel", "BackendError", "Basis",
    "BranchRatios", "Calibration", "Capabilities", "CheckpointError", "Compression", "DamagedFile",
    "DeviceDescription", "DeviceError", "DitDimensions", "Done", "EightBit", "Event", "ExpertDescription",
    "ExpertName", "Failed", "FewStep", "FileRecord", "FilmgateError", "Frozen", "Gate", "GateCheck", "GateLevel",
    "GuidanceMethod", "GuidanceReuse", "GuidanceRule", "HostPlace", "InputFile", "InputRole", "InvalidRequest",
    "Keep", "KernelProfile", "LatentShape", "Layout", "LoraChoice", "LoraUse", "MagCache", "Measurement",
    "MemoryEstimate", "MemoryMode", "MissingFile", "MissingTensor", "ModelDescription", "NotFinite",
    "Operation", "OutputError", "PassCounts", "Plan", "Precision", "Preset", "Preview", "Progress", "Recipe",
    "RecipeChoice", "Report", "Request", "ResidencyOption", "ResidencyPlan", "Scope", "Solver",
    "SparseAttention", "SpeedPlan", "SpeedProfile", "Stage", "Started", "Step", "StepWork", "Take", "Task",
    "TaylorSeer", "TextEncoderPlace", "TimeEstimate", "Timings", "UnexpectedTensor", "UnknownName",
    "UnsafeCheckpoint", "VideoShape", "WeightFormat", "WrongDtype", "WrongShape", "WrongVariant",
    "resolution_class",
]  # fmt: skip
