"""Descriptions of published and of tiny models, devices, and a tokenizer of one token a word."""

from filmgate.direction.architectures import describe_published
from filmgate.spec import DeviceDescription, DitDimensions, ExpertDescription, ModelDescription, Preset

PAIR = ("high_noise", "low_noise")
CPU = DeviceDescription(kind="cpu", name="A processor", memory_bytes=16 << 30, cores=2)
H200 = DeviceDescription(kind="cuda", name="NVIDIA H200", memory_bytes=141 << 30)
VOCABULARY = (
    "a", "red", "blue", "ball", "balls", "marble", "cube", "rolls", "rolling", "slide", "to", "left", "right", "past",
    "small", "big", "slowly", "three", "sunset", "medium-sized", "stops", "fly", "box",
)  # fmt: skip
TINY_PRESET = Preset(
    sizes=((160, 96), (96, 160)),
    frames=33,
    fps=12,
    steps=20,
    shift=5.0,
    guidance_high=4.0,
    guidance_low=3.0,
    boundary=0.875,
)


def words(text):
    """Tokens of a text, the end mark included."""
    return len(text.split()) + 1


def model_of(variant, /, **changes):
    """A published model as it is described from the original files, in fp32, which have no sidecar."""
    described = describe_published(variant, 4)
    return ModelDescription(**{**dict(described), "path": f"/models/{variant}", **changes})


def tiny_pair(**changes):
    """A small pair with its own preset and vocabulary."""
    fields = {
        "id": "tiny",
        "family": "wan2.2",
        "dit": DitDimensions(
            dim=256, ffn_dim=1024, heads=4, layers=8, in_channels=16, out_channels=16, text_len=16, text_dim=192
        ),
        "experts": [
            ExpertDescription(name=name, path=name, parameters=9_140_000, bytes=18_280_000, dtype="bfloat16")
            for name in PAIR
        ],
        "preset": TINY_PRESET,
        "vocabulary": VOCABULARY,
        "default_precision": "fp32",
        "text_encoder_bytes": 4_340_000,
        "text_encoder_parameters": 2_170_000,
        "vae_bytes": 5_847_558,
        "vae_parameters": 2_923_779,
    }
    return model_of("wan2.2-t2v-a14b", **{**fields, **changes})


def tiny_dense(**changes):
    """The same with one transformer."""
    expert = ExpertDescription(name="dense", path=".", parameters=9_140_000, bytes=18_280_000, dtype="bfloat16")
    preset = TINY_PRESET.model_copy(update={"boundary": None, "guidance_high": 3.0})
    return tiny_pair(**{"id": "tiny-dense", "experts": [expert], "preset": preset, **changes})
