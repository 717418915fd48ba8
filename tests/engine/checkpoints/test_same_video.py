"""One model in the forms of four publishers paints one video, frame by frame and bit by bit."""

import pytest
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from tests.engine.checkpoints import published
from tests.engine.checkpoints.published import DIT, TEXT
from tests.engine.wan_directory import VAE, byte_tokenizer, tiny_wan_directory
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from filmgate import Done, Filmgate, Request
from filmgate.engine.checkpoints.names import DIFFUSERS_DIT, HUGGING_FACE_UMT5, diffusers_vae

NAMES = ("high_noise", "low_noise")


def renamed(naming, state):
    return {naming.to_theirs(name): tensor for name, tensor in state.items()}


def original(root):
    return tiny_wan_directory(root, dit=DIT, text=TEXT)


def comfy(root):
    for seed, name in enumerate(NAMES, 1):
        published.save_single(
            root / "diffusion_models" / f"wan2.2_t2v_{name}.safetensors", published.transformer(DIT, seed).state_dict(),
            prefix="model.diffusion_model.",
        )  # fmt: skip
    published.save_single(root / "vae" / "wan_2.1_vae.safetensors", published.vae().state_dict())
    text = renamed(HUGGING_FACE_UMT5, published.text_encoder().state_dict())
    published.save_single(root / "text_encoders" / "umt5_xxl.safetensors", text)
    byte_tokenizer().save(str(root / "text_encoders" / "tokenizer.json"))
    return root / "diffusion_models" / "wan2.2_t2v_low_noise.safetensors"


def gguf(root):
    for seed, name in enumerate(NAMES, 1):
        published.save_gguf(root / f"{name}.gguf", published.transformer(DIT, seed).state_dict(), "F32")
    published.save_single(root / "kijai_vae.safetensors", published.vae().state_dict(), prefix="model.")
    published.save_single(root / "umt5-xxl-enc.safetensors", published.text_encoder().state_dict())
    byte_tokenizer().save(str(root / "tokenizer.json"))
    return root


def diffusers(root):
    """The same weights in Diffusers' own modules, saved by them."""
    transformers = []
    for seed in (1, 2):
        part = WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=128, in_channels=16, out_channels=16, text_dim=256, freq_dim=256,
            ffn_dim=512, num_layers=2,
        )  # fmt: skip
        part.load_state_dict(renamed(DIFFUSERS_DIT, published.transformer(DIT, seed).state_dict()))
        transformers.append(part)
    vae = AutoencoderKLWan(
        base_dim=VAE.dim,
        z_dim=16,
        dim_mult=list(VAE.dim_mult),
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    vae.load_state_dict(renamed(diffusers_vae(blocks=2, nested=False), published.vae().state_dict()))
    config = UMT5Config(vocab_size=320, d_model=256, d_kv=64, d_ff=256, num_layers=2, num_heads=4)
    text_encoder = UMT5EncoderModel(config)
    text = renamed(HUGGING_FACE_UMT5, published.text_encoder().state_dict())
    text_encoder.load_state_dict({**text, "encoder.embed_tokens.weight": text["shared.weight"]})
    WanPipeline(
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer()), text_encoder=text_encoder, vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(), transformer=transformers[0], transformer_2=transformers[1],
        boundary_ratio=0.875,
    ).save_pretrained(root)  # fmt: skip
    return root


def frames_of(model, output):
    filmgate = Filmgate()
    request = Request(
        prompt="a red ball rolls", model=str(model), width=32, height=32, frames=5, steps=2, seed=1, precision="fp32",
        device="cpu", boundary=0.5, shift=1.0,
    )  # fmt: skip
    plan = filmgate.plan(request)
    assert [step.expert for step in plan.steps] == ["high_noise", "low_noise"]
    *_, last = filmgate.render(plan, output)
    assert isinstance(last, Done)
    return last.take.frames_sha256


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    root = tmp_path_factory.mktemp("original")
    return frames_of(original(root / "model"), root / "x.mp4")


@pytest.mark.parametrize("write", [comfy, gguf, diffusers])
def test_the_video_is_the_same(expected, tmp_path, write):
    assert frames_of(write(tmp_path / "model"), tmp_path / "x.mp4") == expected


def test_another_expert_is_another_video(expected, tmp_path):
    path = comfy(tmp_path / "model")
    published.save_single(path, published.transformer(DIT, 8).state_dict())
    assert frames_of(path, tmp_path / "x.mp4") != expected
