"""Whole pipelines against those of diffusers: random small weights, fixed noise, fp32 on a CPU."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.parity.twins import (
    CLIP,
    VAE21,
    VAE22,
    clip_modules,
    described,
    dit,
    networks,
    ours,
    picture,
    planned,
    theirs,
)

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.values import Pictures

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")
PAIR, DENSE = ("high_noise", "low_noise"), ("dense",)
ONE = {"boundary": None, "guidance_high": 3.0, "guidance_low": 3.0}


@pytest.fixture(autouse=True)
def quiet():
    with torch.no_grad():
        yield


def test_text_to_video_of_two_experts(monkeypatch, same):
    config = dit()
    given = networks(config, VAE21, PAIR)
    plan = planned(described("wan2.2-t2v-a14b", config, VAE21))
    assert [step.expert for step in plan.steps] == ["high_noise"] * 2 + ["low_noise"] * 2
    same(ours(plan, given, Pictures(), monkeypatch), theirs("WanPipeline", plan, given))


@pytest.mark.parametrize("frames", [1, 9])
def test_text_to_video_and_to_one_picture_of_one_transformer(monkeypatch, same, frames):
    config = dit()
    given = networks(config, VAE21, DENSE)
    plan = planned(described("wan2.1-t2v-14b", config, VAE21, **ONE), frames=frames)
    assert plan.operation == ("t2i" if frames == 1 else "t2v")
    same(ours(plan, given, Pictures(), monkeypatch), theirs("WanPipeline", plan, given))


def test_image_to_video_of_two_experts(monkeypatch, same):
    config = dit(in_dim=36)
    given = networks(config, VAE21, PAIR)
    shown = Pictures(image=picture(48, 32, 1))
    plan = planned(described("wan2.2-i2v-a14b", config, VAE21), shown, width=48, height=32)
    other = theirs("WanImageToVideoPipeline", plan, given, arguments={"image": Image.fromarray(shown.image)})
    same(ours(plan, given, shown, monkeypatch), other)


def test_first_and_last_image_of_two_experts(monkeypatch, same):
    config = dit(in_dim=36)
    given = networks(config, VAE21, PAIR)
    shown = Pictures(image=picture(48, 32, 1), last_image=picture(48, 32, 2))
    plan = planned(described("wan2.2-i2v-a14b", config, VAE21), shown, width=48, height=32, frames=9)
    assert plan.operation == "flf2v"
    images = {"image": Image.fromarray(shown.image), "last_image": Image.fromarray(shown.last_image)}
    other = theirs("WanImageToVideoPipeline", plan, given, arguments=images)
    same(ours(plan, given, shown, monkeypatch), other)


@pytest.mark.parametrize("variant", ["wan2.1-i2v-14b-480p", "wan2.1-flf2v-14b"])
def test_wan_21_sees_its_pictures_through_clip_too(monkeypatch, same, variant):
    last = "flf2v" in variant
    # Diffusers takes the last 512 rows of text and pictures for text, whatever the model's text length.
    config = dit(in_dim=36, image_dim=CLIP.dim, image_positions=514 if last else None, text_len=512)
    given = networks(config, VAE21, DENSE, clip=True)
    # Pictures of the size that CLIP looks at: diffusers' preparation changes others in another way than the original's.
    shown = Pictures(image=picture(224, 224, 1), last_image=picture(224, 224, 2) if last else None)
    plan = planned(described(variant, config, VAE21, **ONE), shown, width=224, height=224)
    images = {"image": Image.fromarray(shown.image)}
    if last:
        images["last_image"] = Image.fromarray(shown.last_image)
    other = theirs("WanImageToVideoPipeline", plan, given, arguments=images, modules=clip_modules(given))
    same(ours(plan, given, shown, monkeypatch), other)


@pytest.mark.parametrize("shown", [Pictures(), Pictures(image=picture(64, 64, 1))], ids=["text", "image"])
def test_text_and_image_to_video_of_the_small_vae(monkeypatch, same, shown):
    config = dit(in_dim=8, out_dim=8, per_token_timestep=True)
    given = networks(config, VAE22, DENSE)
    model = described("wan2.2-ti2v-5b", config, VAE22, **ONE, sizes=((64, 64),))
    plan = planned(model, shown, width=64, height=64, frames=9)
    kind = "WanPipeline" if shown.image is None else "WanImageToVideoPipeline"
    images = {} if shown.image is None else {"image": Image.fromarray(shown.image)}
    other = theirs(kind, plan, given, arguments=images, expand_timesteps=True)
    same(ours(plan, given, shown, monkeypatch), other)


@pytest.mark.parametrize("strength", [0.5, 0.75, 1.0])
def test_video_to_video(monkeypatch, same, strength):
    config = dit()
    given = networks(config, VAE21, DENSE)
    clip = np.stack([picture(48, 32, seed) for seed in range(5)])
    model = described("wan2.1-t2v-14b", config, VAE21, **ONE)
    shown = Pictures(video=clip)
    plan = planned(model, shown, width=48, height=32, strength=strength)
    whole = planned(model)
    assert len(plan.steps) == int(4 * strength)
    arguments = {
        "video": [Image.fromarray(frame) for frame in clip], "strength": strength, "num_inference_steps": 4,
        "generator": torch.Generator().manual_seed(plan.seed),
    }  # fmt: skip
    other = theirs("WanVideoToVideoPipeline", whole.model_copy(update={"seed": plan.seed}), given, arguments=arguments)
    same(ours(plan, given, shown, monkeypatch), other)


def euler_from_a_video(plan, given, video):
    """The final latent of a walk that begins with a video, written out: diffusers has no such pipeline."""
    pixels = (torch.tensor(video).permute(3, 0, 1, 2).float() / 255 * 2 - 1)[None]
    start = given.autoencoder.normalise(given.autoencoder.encode_sequence(pixels)[0])
    noise = torch.randn(start.shape[1:], generator=torch.Generator().manual_seed(plan.seed))[None]
    ids = [given.tokenise(text) for text in (plan.prompt, plan.negative)]
    texts = [given.text(torch.tensor([one]), torch.ones(1, len(one))) for one in ids]
    x = start + plan.steps[0].sigma * (noise - start)
    for step in plan.steps:
        network, time = given.transformers[step.expert], torch.tensor([step.timestep])
        with_it, without = (network(x, time, text) for text in texts)
        x = x + (step.sigma_next - step.sigma) * (without + step.guidance * (with_it - without))
    return x[0]


@pytest.mark.parametrize(("strength", "high"), [(1.0, 2), (0.75, 1), (0.5, 0)])
def test_video_to_video_of_two_experts_begins_with_the_one_of_its_noise(monkeypatch, close, strength, high):
    config = dit()
    given = networks(config, VAE21, PAIR)
    shown = Pictures(video=np.stack([picture(48, 32, seed) for seed in range(5)]))
    model = described("wan2.2-t2v-a14b", config, VAE21)
    plan = planned(model, shown, width=48, height=32, strength=strength, solver="euler")
    assert plan.steps_of("high_noise") == high
    latent, _ = ours(plan, given, shown, monkeypatch)
    close(latent, euler_from_a_video(plan, given, shown.video), 2e-4)
    assert ("high_noise" in given.asked) == (high > 0), "an expert that paints nothing is not asked for"


def test_video_to_video_of_the_small_vae(monkeypatch, close):
    config = dit(in_dim=8, out_dim=8, per_token_timestep=True)
    given = networks(config, VAE22, DENSE)
    shown = Pictures(video=np.stack([picture(64, 64, seed) for seed in range(5)]))
    model = described("wan2.2-ti2v-5b", config, VAE22, **ONE, sizes=((64, 64),))
    plan = planned(model, shown, width=64, height=64, strength=0.75, solver="euler")
    latent, _ = ours(plan, given, shown, monkeypatch)
    close(latent, euler_from_a_video(plan, given, shown.video), 2e-4)


@pytest.fixture
def passes(monkeypatch):
    """Samples that went through a transformer, by its identity."""
    seen = []
    original = WanDiT.forward

    def forward(self, x, *args, **options):
        result = original(self, x, *args, **options)
        seen.extend([id(self)] * len(result))
        return result

    monkeypatch.setattr(WanDiT, "forward", forward)
    return seen


@pytest.mark.parametrize(("high", "low", "counts"), [(3.5, 2.5, (4, 4)), (1.0, 2.5, (2, 4)), (3.5, 1.0, (4, 2)),
                                                     (1.0, 1.0, (2, 2))])  # fmt: skip
def test_guidance_one_in_one_expert_skips_its_second_pass(monkeypatch, passes, high, low, counts):
    config = dit(in_dim=36)
    given = networks(config, VAE21, PAIR)
    shown = Pictures(image=picture(48, 32, 1))
    model = described("wan2.2-i2v-a14b", config, VAE21)
    plan = planned(model, shown, width=48, height=32, guidance_high=high, guidance_low=low)
    ours(plan, given, shown, monkeypatch)
    assert tuple(passes.count(id(given.transformers[name])) for name in PAIR) == counts
    assert sum(step.passes for step in plan.steps) == sum(counts) == len(passes)


def test_networks_come_one_at_a_time_in_the_order_of_their_work(monkeypatch):
    config = dit(in_dim=36, image_dim=CLIP.dim)
    given = networks(config, VAE21, DENSE, clip=True)
    shown = Pictures(image=picture(48, 32, 1))
    plan = planned(described("wan2.1-i2v-14b-720p", config, VAE21, **ONE), shown, width=48, height=32)
    ours(plan, given, shown, monkeypatch)
    order = list(dict.fromkeys(given.asked[: given.asked.index("-dense")]))
    assert order == [
        "text_encoder", "-text_encoder", "image_encoder", "-image_encoder", "vae", "-vae", "dense",
    ]  # fmt: skip
