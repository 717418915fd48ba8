"""The published golden vectors of the transformer and of the text encoder, and how far a model is from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tests.engine.golden_fill import fill_parameters, fingerprint, golden_tensor
from torch import Tensor

from filmgate.engine.models.config import DitConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder

DIT_TOLERANCE = 2e-5
TEXT_TOLERANCE = 3e-5
WIDTH = 32


@dataclass(frozen=True)
class GoldenCase:
    """Configuration on top of the tiny one, and the published mean, rms, first 6 and last 4 values."""

    in_dim: int = 16
    out_dim: int = 16
    image_dim: int | None = None
    image_positions: int | None = None
    per_token_timestep: bool = False
    expected: tuple[float, ...] = ()

    @property
    def config(self) -> DitConfig:
        return DitConfig(
            dim=64, ffn_dim=96, num_heads=2, num_layers=2, text_dim=WIDTH, in_dim=self.in_dim, out_dim=self.out_dim,
            image_dim=self.image_dim, image_positions=self.image_positions, per_token_timestep=self.per_token_timestep,
        )  # fmt: skip

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Latent [1, C, 3, 8, 10], timestep [1] or [1, 60], context [1, 20, 32], image features or none."""
        timestep = torch.tensor([937.0])
        if self.per_token_timestep:
            timestep = torch.cat([torch.zeros(20), torch.full((40,), 937.0)])[None]
        image = None
        if self.image_dim is not None:
            pictures = 1 if self.image_positions is None else 2
            image = golden_tensor("clip", (pictures, 257, self.image_dim)).reshape(1, pictures * 257, self.image_dim)
        return golden_tensor("x", (1, self.in_dim, 3, 8, 10)), timestep, golden_tensor("context", (1, 20, WIDTH)), image


GOLDEN_DIT = {
    "t2v": GoldenCase(
        expected=(-0.092078, 1.206567, -1.85480, 0.01603, -0.01228, -0.60751, -0.21945, -0.86306,
                  -0.20675, -0.19678, 0.53150, 0.04403),
    ),
    "i2v-2.1": GoldenCase(
        in_dim=36, image_dim=1280,
        expected=(-0.120375, 1.140452, 0.31520, -0.80965, 0.15304, 0.45661, 0.14425, -0.14155,
                  0.31746, 0.36392, -0.14688, 0.02035),
    ),
    "i2v-2.2": GoldenCase(
        in_dim=36,
        expected=(-0.080646, 1.192468, -0.16122, -1.01178, -1.04400, 0.19852, -0.56393, -0.22660,
                  1.07267, -0.14789, 0.42593, -0.96396),
    ),
    "flf2v-2.1": GoldenCase(
        in_dim=36, image_dim=1280, image_positions=514,
        expected=(-0.127779, 1.147865, 0.25339, -0.82322, 0.05453, 0.42250, 0.17013, -0.13012,
                  0.47616, 0.50087, -0.02041, 0.04995),
    ),
    "ti2v-2.2": GoldenCase(
        in_dim=48, out_dim=48, per_token_timestep=True,
        expected=(-0.014106, 1.156652, 0.56525, 0.06318, 1.30720, -0.48040, 1.28412, -0.79522,
                  -0.81940, -0.24253, 1.44128, -0.95576),
    ),
}  # fmt: skip

GOLDEN_TEXT_CONFIG = TextEncoderConfig(vocab=100, dim=64, dim_attn=64, dim_ffn=96, heads=4, layers=3)
GOLDEN_TEXT = (0.062750, 1.019391, -0.79893, 0.39132, -1.72491, -0.05783, -1.09177, 0.22958,
               -1.12185, 1.54339, -1.56031, 0.57987)  # fmt: skip


def golden_dit(case: GoldenCase) -> WanDiT:
    """The tiny transformer, filled."""
    model = WanDiT(case.config)
    fill_parameters(model)
    return model


def golden_text_encoder() -> Umt5Encoder:
    """The tiny text encoder, filled."""
    model = Umt5Encoder(GOLDEN_TEXT_CONFIG)
    fill_parameters(model)
    return model


def deviation(output: Tensor, expected: tuple[float, ...]) -> float:
    """Largest distance of mean, rms and sampled values from the published ones."""
    statistics, values = fingerprint(output)
    return max(abs(a - b) for a, b in zip([*statistics, *values], expected, strict=True))


@torch.inference_mode()
def dit_deviation(model: WanDiT, case: GoldenCase) -> float:
    """How far the transformer is from the published output."""
    output = model(*case.inputs())
    assert output.shape == (1, case.out_dim, 3, 8, 10)
    return deviation(output, case.expected)


@torch.inference_mode()
def text_deviation(model: Umt5Encoder) -> float:
    """How far the text encoder is from the published output: 31 tokens of a text padded to 200."""
    ids = torch.tensor([[(7 * i + 3) % 97 + 2 for i in range(30)] + [1] + [0] * 169])
    return deviation(model(ids, ids != 0)[0, :31], GOLDEN_TEXT)
