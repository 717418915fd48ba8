"""A small transformer, its Diffusers twin, and one LoRA of it in every dialect."""

import json

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from filmgate.engine.checkpoints.names import DIFFUSERS_DIT
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT

DIM, FFN, RANK, ALPHA, LAYERS = 24, 40, 4, 6.0, 2
CONFIG = DitConfig(dim=DIM, ffn_dim=FFN, num_heads=2, num_layers=LAYERS, text_len=8, text_dim=16, freq_dim=32)
MODULES = tuple(
    f"blocks.{block}.{module}"
    for block in range(LAYERS)
    for module in (*(f"{a}.{x}" for a in ("self_attn", "cross_attn") for x in "qkvo"), "ffn.0", "ffn.2")
)
INPUTS = (4, 6, 8)


def draw(seed, *shape, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def random_dit(config=CONFIG, seed=0, dtype=torch.float32):
    network = WanDiT(config).eval().requires_grad_(False)
    for index, (_, parameter) in enumerate(sorted(network.named_parameters())):
        parameter.copy_(draw(1000 * seed + index, *parameter.shape, scale=0.15))
    return network.to(dtype)


def inputs(config=CONFIG):
    """x, timestep, text."""
    x = draw(7, 1, config.in_dim, *INPUTS)
    return x, torch.tensor([937.0]), draw(8, 1, config.text_len, config.text_dim)


@torch.no_grad()
def run(network):
    return network(*inputs(network.config))


def twin(network):
    """Diffusers' transformer with the same weights."""
    c = network.config
    other = WanTransformer3DModel(
        num_attention_heads=c.num_heads, attention_head_dim=c.head_dim, in_channels=c.in_dim, out_channels=c.out_dim,
        text_dim=c.text_dim, freq_dim=c.freq_dim, ffn_dim=c.ffn_dim, num_layers=c.num_layers, rope_max_seq_len=32,
    )  # fmt: skip
    other.load_state_dict({DIFFUSERS_DIT.to_theirs(name): value for name, value in network.state_dict().items()})
    return other.eval()


@torch.no_grad()
def run_twin(other, config=CONFIG):
    x, timestep, text = inputs(config)
    return other(x, timestep, text, return_dict=False)[0]


def factors(network, modules=MODULES, rank=RANK, seed=50):
    """(down [r, in], up [out, r]) by module."""
    shapes = {name: network.get_parameter(f"{name}.weight").shape for name in modules}
    return {
        name: (draw(seed + i, rank, shape[1:].numel(), scale=0.2), draw(seed + 500 + i, shape[0], rank, scale=0.2))
        for i, (name, shape) in enumerate(shapes.items())
    }


def flat(name):
    return name.replace(".", "_")


def theirs(name):
    return DIFFUSERS_DIT.to_theirs(name)


DIALECTS = {
    # dialect as told, key of a module, suffixes of down and up, whether alpha stands beside
    "kohya": ("kohya", lambda m: f"lora_unet_{flat(m)}", ".lora_down.weight", ".lora_up.weight", True),
    "kohya of VideoX-Fun": ("kohya", lambda m: f"lora_unet__{flat(m)}", ".lora_down.weight", ".lora_up.weight", True),
    "ComfyUI": ("ComfyUI", lambda m: f"diffusion_model.{m}", ".lora_down.weight", ".lora_up.weight", True),
    "ComfyUI, A and B": ("ComfyUI", lambda m: f"diffusion_model.{m}", ".lora_A.weight", ".lora_B.weight", False),
    "ComfyUI, long": ("ComfyUI", lambda m: f"model.diffusion_model.{m}", ".lora_A", ".lora_B", True),
    "Diffusers": ("Diffusers", lambda m: f"transformer.{theirs(m)}", ".lora_A.weight", ".lora_B.weight", False),
    "Diffusers, old": (
        "Diffusers", lambda m: f"transformer.{theirs(m)}", ".lora_linear_layer.down.weight",
        ".lora_linear_layer.up.weight", False,
    ),
    "Diffusers without prefix": ("Diffusers", theirs, "_lora.down.weight", "_lora.up.weight", False),
    "PEFT": ("PEFT", lambda m: f"base_model.model.{theirs(m)}", ".lora_A.weight", ".lora_B.weight", False),
    "DiffSynth": ("DiffSynth", lambda m: m, ".lora_A.default.weight", ".lora_B.default.weight", False),
    "DiffSynth, pipe": (
        "DiffSynth", lambda m: f"pipe.dit.{m}", ".lora_A.default.weight", ".lora_B.default.weight", False,
    ),
}  # fmt: skip


def state_in(dialect, pairs, alpha=ALPHA):
    """Tensors of a file, and the scale that they have there."""
    _, key, down, up, beside = DIALECTS[dialect]
    state = {}
    for module, (a, b) in pairs.items():
        state[key(module) + down], state[key(module) + up] = a, b
        if beside:
            state[key(module) + ".alpha"] = torch.tensor(alpha)
    return state, (alpha / next(iter(pairs.values()))[0].shape[0] if beside else 1.0)


def write(path, state, metadata=None):
    save_file({name: value.clone().contiguous() for name, value in state.items()}, path, metadata)
    return path


@torch.no_grad()
def merged_by_hand(network, pairs, scale):
    """Another network with W + scale·up·down, in double precision, rounded once."""
    other = random_dit(network.config)
    other.load_state_dict(network.state_dict())
    for module, (down, up) in pairs.items():
        weight = other.get_parameter(f"{module}.weight")
        product = up.double().flatten(1) @ down.double().flatten(1)
        weight.copy_((weight.double() + scale * product.view(weight.shape)).to(weight.dtype))
    return other


def diffusers_metadata(**fields):
    return {"lora_adapter_metadata": json.dumps({f"transformer.{key}": value for key, value in fields.items()})}
