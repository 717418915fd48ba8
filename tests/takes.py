"""A model description, plans and a take of toy size, made by hand: nothing has to be on disk."""

from itertools import pairwise

from filmgate.spec import (
    Compression,
    DeviceDescription,
    DitDimensions,
    ExpertDescription,
    FileRecord,
    MemoryEstimate,
    ModelDescription,
    Plan,
    Step,
    Take,
    Timings,
    VideoShape,
)

SIGMAS = (0.9998, 0.93727, 0.83306, 0.62469, 0.0)


def make_model(path="/models/tiny", **changes):
    experts = [
        ExpertDescription(name=name, path=f"{name}_model", parameters=10, bytes=40, dtype="float32")
        for name in ("high_noise", "low_noise")
    ]
    fields = {
        "id": "tiny",
        "title": "A tiny model",
        "variant": "wan2.2-t2v-a14b",
        "family": "wan2.2",
        "task": "t2v",
        "path": str(path),
        "dit": DitDimensions(dim=8, ffn_dim=16, heads=1, layers=1, in_channels=16, out_channels=16),
        "compression": Compression(),
        "experts": experts,
        "default_precision": "fp32",
    }
    return ModelDescription(**{**fields, **changes})


def make_plan(model=None, *, video=None, guidance=(3.5, 3.0), seed=7, sigmas=SIGMAS, boundary=0.875, **changes):
    """A plan with the expert of each step by the boundary, and ``guidance`` of (high, low)."""
    model = model or make_model()
    video = video or VideoShape(frames=5, height=32, width=48)
    steps = []
    for index, (sigma, after) in enumerate(pairwise(sigmas)):
        timestep = int(1000 * sigma)
        high = boundary is not None and timestep >= 1000 * boundary
        expert = "dense" if boundary is None else "high_noise" if high else "low_noise"
        scale = guidance[0] if high else guidance[1]
        steps.append(Step(index=index, sigma=sigma, sigma_next=after, timestep=timestep, expert=expert, guidance=scale))
    fields = {
        "prompt": "a red ball",
        "negative": "",
        "model": model,
        "video": video,
        "latent": model.compression.latent(video),
        "fps": 12,
        "seed": seed,
        "solver": "unipc",
        "shift": 5.0,
        "boundary": boundary,
        "steps": steps,
        "precision": "fp32",
        "device": DeviceDescription(kind="cpu", name="A processor", memory_bytes=1 << 34, cores=2),
        "memory": MemoryEstimate(weights=3 << 20, activations=1 << 20, vae=1 << 20, peak=5 << 20),
        "seconds": 12.3,
    }
    return Plan(**{**fields, **changes})


def make_take(plan=None, **changes):
    plan = plan or make_plan()
    fields = {
        "plan": plan,
        "plan_sha256": plan.fingerprint,
        "frames_sha256": "f" * 64,
        "files": [FileRecord(role="video", path="clip.mp4", bytes=1000, sha256="a" * 64)],
        "weights": [FileRecord(role="weights", path="high_noise_model/w.safetensors", bytes=40, sha256="b" * 64)],
        "versions": {"filmgate": "0.1.0", "torch": "2.13.0"},
        "hardware": "2 cores of A processor",
        "timings": Timings(load=0.5, encode=0.1, steps=(0.2, 0.2, 0.2), decode=0.4, deliver=0.1, total=1.6),
        "created": "2026-11-24T12:00:00Z",
    }
    return Take(**{**fields, **changes})
