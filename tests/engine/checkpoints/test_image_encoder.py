"""The image encoder of a model directory, from the file as it is published."""

import dataclasses

import pytest
import torch
from tests.engine.wan_directory import DIT, SIDECAR, network, save_clip

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.wan import IMAGE_DTYPES, load_image_encoder
from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.config import ImageEncoderConfig
from filmgate.spec import MissingFile, MissingTensor, WrongVariant

CLIP = ImageEncoderConfig(dim=80, dim_ffn=96, heads=1, layers=3, grid=2)
CPU = torch.device("cpu")


@pytest.fixture
def make_model(make_wan):
    def make(clip=CLIP, image_positions=None):
        preset = {**SIDECAR["preset"], "boundary": None, "guidance_high": 3.0}
        task = "i2v" if image_positions is None else "flf2v"
        sidecar = {**SIDECAR, "variant": f"wan2.1-{task}-14b", "family": "wan2.1", "task": task, "preset": preset}
        dit = dataclasses.replace(DIT, in_dim=36, image_dim=80, image_positions=image_positions)
        return make_wan(folders={".": 1}, dit=dit, clip=clip, sidecar=sidecar)

    return make


@torch.no_grad()
def test_the_features_are_those_before_the_last_block(make_model):
    model = describe(make_model())
    assert model.image_encoder_bytes > 0
    loaded = load_image_encoder(model, device=CPU, precision="bf16")
    published = network(ClipEncoder, dataclasses.replace(CLIP, layers=CLIP.layers + 1), 5).half().float()
    assert len(loaded.transformer) == CLIP.layers - 1
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}, "on a CPU, as in the original"
    pictures = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    inner = []
    published.transformer[CLIP.layers - 2].register_forward_hook(lambda *found: inner.append(found[2]))
    last = published(pictures)
    torch.testing.assert_close(loaded(pictures), inner[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(loaded(pictures), last, atol=1e-2)


def test_on_a_gpu_it_would_be_fp16_as_in_the_original():
    assert {"fp32": torch.float32, "bf16": torch.float16, "fp16": torch.float16} == IMAGE_DTYPES


def test_a_missing_one_is_said(make_model):
    model = describe(make_model(clip=None))
    with pytest.raises(MissingFile, match="the image encoder is missing"):
        load_image_encoder(model, device=CPU, precision="fp32")


def test_one_of_another_width_is_said(make_model):
    root = make_model()
    model = describe(root)
    name = next(root.glob("models_clip_*"))
    save_clip(name, dataclasses.replace(CLIP, dim=160, heads=2))
    with pytest.raises(WrongVariant, match="expected width 80, found width 160"):
        load_image_encoder(model, device=CPU, precision="fp32")


def test_one_with_another_number_of_patches_is_said(make_model):
    model = describe(make_model(image_positions=10, clip=dataclasses.replace(CLIP, grid=3)))
    with pytest.raises(WrongVariant, match="expected 10 rows of two pictures, found 20"):
        load_image_encoder(model, device=CPU, precision="fp32")
    assert (
        load_image_encoder(describe(make_model(image_positions=10)), device=CPU, precision="fp32").config.positions == 5
    )


def test_a_tensor_that_is_needed_must_be_there(make_model):
    root = make_model()
    model = describe(root)
    name = next(root.glob("models_clip_*"))
    state = torch.load(name, weights_only=True)
    del state["visual.transformer.1.mlp.2.bias"]
    torch.save(state, name)
    with pytest.raises(MissingTensor, match=r"transformer\.1\.mlp\.2\.bias"):
        load_image_encoder(model, device=CPU, precision="fp32")
