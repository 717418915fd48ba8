"""The ways in which networks can lie in memory, and what they make of a small model."""

import numpy as np
import pytest
import torch
from tests.direction.models import CPU

from filmgate.direction.planner import plan
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.runtime.place import repeatable
from filmgate.spec import Request, ResidencyPlan, SpeedPlan

MODES = {
    "resident": ResidencyPlan(mode="resident", text_encoder="device"),
    "one_expert": ResidencyPlan(),
    "streamed": ResidencyPlan(mode="streamed"),
    "streamed from the file": ResidencyPlan(mode="streamed", host="mapped"),
    "streamed, one kept": ResidencyPlan(mode="streamed", kept_blocks=1),
}
DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)]


def opened(model, residency, precision="fp32", loras=(), device="cpu", profile="plain"):
    return OnDemand(model, torch.device(device), precision, loras, residency, SpeedPlan(profile=profile))


def frames_of(networks, planned):
    """Frames as arrays of bytes, computed as a backend computes them."""
    with repeatable(1):
        return np.concatenate([item for item in render(planned, networks) if isinstance(item, np.ndarray)])


def planned_for(model, **wish):
    loras = wish.pop("loras", ())
    request = Request(prompt="a red ball rolls", seed=3, **wish)
    return plan(request, model, CPU, load_tokenizer(model).count, loras=loras)
