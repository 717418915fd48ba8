"""A model of random weights that was never on disk, and the video that a plain loop makes of it."""

import torch
from tests.takes import make_model, make_plan

from filmgate.engine.models.config import DitConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.runtime.attention_race import Races
from filmgate.spec import DitDimensions

DIT = DitConfig(dim=32, ffn_dim=48, num_heads=2, num_layers=2, text_len=12, text_dim=24, freq_dim=16)
VAE = VaeConfig(dim=4, dim_mult=(1, 2, 2, 2), num_res_blocks=1, z_dim=16)
TEXT = TextEncoderConfig(vocab=64, dim=24, dim_attn=24, dim_ffn=32, heads=2, layers=2, text_len=12)
DIMENSIONS = DitDimensions(
    dim=32, ffn_dim=48, heads=2, layers=2, in_channels=16, out_channels=16, text_len=12, text_dim=24, freq_dim=16
)


def tokenise(text):
    """One token a word, and the end."""
    words = text.split()[: DIT.text_len - 1]
    return [*(2 + sum(map(ord, word)) % 60 for word in words), 1]


class RandomNetworks:
    """A residency that builds its networks from seeds, and writes down what it is asked."""

    def __init__(self, colours=None):
        self.device = torch.device("cpu")
        self.tokenise = tokenise
        self.colours = colours
        self.races = Races()
        self.held = {}
        self.log = []

    def text_encoder(self):
        return self._get("text_encoder", 1, lambda: Umt5Encoder(TEXT))

    def transformer(self, name):
        for other in {"high_noise", "low_noise", "dense"} - {name}:
            self.release(other)
        return self._get(name, {"high_noise": 2, "low_noise": 3, "dense": 4}[name], lambda: WanDiT(DIT))

    def vae(self):
        return self._get("vae", 5, lambda: WanVae(VAE))

    def holds(self, name):
        return name in self.held

    def release(self, name):
        if self.held.pop(name, None):
            self.log.append(f"-{name}")

    def _get(self, name, seed, build):
        if name not in self.held:
            self.log.append(f"+{name}")
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.held[name] = build().eval()
                with torch.no_grad():
                    for parameter in self.held[name].parameters():
                        parameter.copy_(torch.randn_like(parameter) * 0.15)
        return self.held[name]


def random_plan(**changes):
    return make_plan(make_model(dit=DIMENSIONS), **{"prompt": "a red ball rolls", "negative": "blur", **changes})


@torch.no_grad()
def plain_video(plan, networks):
    """Every stage written out, one text after another, whole sequences, nothing kept: frames [F, h, w, 3] for Euler."""

    def features(text):
        ids = tokenise(text)
        padding = DIT.text_len - len(ids)
        padded = torch.tensor([ids + [0] * padding])
        rows = networks.text_encoder()(padded, torch.tensor([[1] * len(ids) + [0] * padding]))
        rows[:, len(ids) :] = 0
        return rows

    prompt, negative = features(plan.prompt), features(plan.negative)
    shape = (16, plan.latent.frames, plan.latent.height, plan.latent.width)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(plan.seed))[None]
    for step in plan.steps:
        network, timestep = networks.transformer(step.expert), torch.tensor([float(step.timestep)])
        v = network(x, timestep, prompt)
        if step.guidance != 1:
            away = network(x, timestep, negative)
            v = away + step.guidance * (v - away)
        x = x + (step.sigma_next - step.sigma) * v
    vae = networks.vae()
    video = vae.decode_sequence(vae.denormalise(x))[0]
    return ((video.clamp(-1, 1) + 1) / 2 * 255).round().byte().permute(1, 2, 3, 0).numpy()
