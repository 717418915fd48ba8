"""One forward pass of the diffusion transformer at true size, ours and that of diffusers, and the VAE: on one GPU.

    python bench/forward.py --json OUT [--only attention operations light a14b-720p a14b-480p ti2v-5b vae21 vae22 ...]
    python bench/forward.py --smoke --json OUT       tiny networks on the CPU, the same code
    python bench/forward.py --merge OUT ...          writes the claims of runs

Random bf16 weights. A pass is of one text, without guidance; the first one or two, which also compile and choose
algorithms, are not counted, and the median of the others is kept. diffusers runs the same sizes in the same process
after ours is gone: ``WanTransformer3DModel`` with ``compile_repeated_blocks`` and cuDNN's attention, its fastest way
that needs nothing installed, and ``AutoencoderKLWan`` in bf16.

``8bit`` and ``sparse`` are lighter passes, see bench/light_forward.py: products and self-attention in e4m3; and with a
quarter of the blocks of keys beside. ``exact`` is what every request gets; how far its velocity is from that of the
plain model, in bf16 and in the same process, is ``relative_error``: ‖fast − plain‖ / ‖plain‖.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from claims import Measured, commit, finished_runs, report, today, versions, write
from filmgate.engine.checkpoints.wan import DTYPES, FP32_MODULES
from filmgate.engine.kernels.attention import attention_reference, cudnn_attention, sdpa
from filmgate.engine.kernels.head_norm import norm_heads, norm_heads_reference
from filmgate.engine.kernels.residual_norm import Modulation, residual_norm, residual_norm_reference
from filmgate.engine.kernels.rope import rope_table
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.runtime.prepare import call_attention, channels_last, run_as
from filmgate.spec import LatentShape
from light_forward import light_attention, light_operations, light_passes
from true_size_models import Row, chosen, tiny
from true_size_weights import GIB, materialised

ROWS = {
    "a14b-720p": "wan2.2-t2v-a14b.1280x720x81", "a14b-480p": "wan2.2-t2v-a14b.832x480x81",
    "ti2v-5b": "wan2.2-ti2v-5b.1280x704x121",
}  # fmt: skip
VAES = {"vae21": "a14b-720p", "vae22": "ti2v-5b"}
PARTS = ("attention", "operations", "light", *ROWS, *VAES)
CLAIMED = {
    "a14b-720p": "gpu.a14b.720p.forward", "a14b-480p": "gpu.a14b.480p.forward", "ti2v-5b": "gpu.ti2v5b.forward",
    "vae21": "gpu.vae21", "vae22": "gpu.vae22",
}  # fmt: skip
GOALS = {
    "gpu.a14b.720p.forward.exact": 9.7, "gpu.a14b.480p.forward.exact": 2.45, "gpu.ti2v5b.forward.exact": 0.80,
    "gpu.a14b.720p.forward.8bit": 7.7, "gpu.a14b.480p.forward.8bit": 1.95, "gpu.ti2v5b.forward.8bit": 0.65,
    "gpu.a14b.720p.forward.sparse": 4.2,
    "gpu.vae21.decode": 1.5, "gpu.vae21.encode": 1.2, "gpu.vae22.decode": 4.0,
}  # fmt: skip


KINDS = {
    "attention": ("sdpa", "fmha", "softmax"), "convolution": ("fprop",), "products": ("nvjet", "gemm"),
    "norms": ("_residual_norm", "_norm_heads", "_channel_rms", "_biased_sum"), "upsampling": ("upsample",),
    "copies": ("Memcpy", "copy_kernel"),
}  # fmt: skip
"""Kinds of kernels by parts of their names; the first that fits."""


def row_of(name: str, *, small: bool) -> Row:
    """The model and size of a part."""
    (row,) = (row for row in chosen([ROWS[name]], "important") if isinstance(row, Row))
    return tiny(row) if small else row


def latent_of(row: Row) -> LatentShape:
    """The shape of what the transformer works on."""
    return row.sizes.vae.compression.latent(row.video)


def seconds(work: Callable[[], object], device: torch.device, repeats: int, warm: int = 1) -> list[float]:
    """Times of ``repeats`` calls after ``warm`` that are not counted."""
    found = []
    for index in range(warm + repeats):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        if index >= warm:
            found.append(time.perf_counter() - start)
    return found


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def relative(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖."""
    wide = expected.double()
    return float((found.double() - wide).norm() / wide.norm())


def peak(device: torch.device) -> float:
    """GiB that torch held at most since the last call."""
    if device.type != "cuda":
        return 0.0
    found = torch.cuda.max_memory_allocated(device) / GIB
    torch.cuda.reset_peak_memory_stats(device)
    return round(found, 3)


def let_go(device: torch.device) -> None:
    """Give memory back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


# ---------------------------------------------------------------------------------------------------------- operations


def attention(device: torch.device, *, small: bool) -> dict[str, Any]:
    """Attention by itself: seconds, speed, error against fp32 on the first queries, and whether bits repeat."""
    found = {}
    for name in ROWS:
        row = row_of(name, small=small)
        config = row.sizes.dit
        shape = (1, row.tokens, config.num_heads, config.head_dim)
        draw = torch.Generator(device).manual_seed(0)
        q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16, generator=draw) for _ in range(3))
        k = k + torch.randn(1, 1, *shape[2:], device=device, dtype=torch.bfloat16, generator=draw)
        expected = attention_reference(q[:, :256].float(), k.float(), v.float())
        operations = 4 * row.tokens**2 * config.dim
        kinds = {"torch": sdpa} if device.type == "cpu" else {"torch": sdpa, "cudnn": cudnn_attention}
        for kind, attend in kinds.items():
            first = attend(q, k, v)
            taken = statistics.median(seconds(partial(attend, q, k, v), device, 3))
            found[f"{name}.{kind}"] = {
                "seconds": taken, "tera_operations_per_second": operations / taken / 1e12,
                "relative_error": relative(first[:, :256], expected),
                "repeats": all(torch.equal(attend(q, k, v), first) for _ in range(3)),
            }  # fmt: skip
    return found


def operations(device: torch.device, *, small: bool) -> dict[str, Any]:
    """The fused operations: error against the reference in fp64, and bytes per second of each."""
    row = row_of("a14b-720p", small=small)
    config, length = row.sizes.dit, row.tokens
    draw = torch.Generator(device).manual_seed(0)

    def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, device=device, dtype=dtype, generator=draw)

    x, update = normal(1, length, config.dim), normal(1, length, config.dim, dtype=torch.bfloat16)
    rows = [normal(1, config.dim) for _ in range(3)]
    steered = Modulation(*rows)
    wide_rows = Modulation(*(row.double() for row in rows))
    exact = residual_norm_reference(x.double(), update, wide_rows, 1e-6, torch.float64)
    found = {}
    for name, function in (("residual_norm", residual_norm), ("residual_norm.plain", residual_norm_reference)):
        summed, normed = function(x, update, steered, 1e-6, torch.bfloat16)
        work = partial(function, x, update, steered, 1e-6, torch.bfloat16)
        taken = statistics.median(seconds(work, device, 5))
        found[name] = {
            "seconds": taken, "relative_error": relative(normed, exact[1]), "sum_error": relative(summed, exact[0]),
            "tera_bytes_per_second": (2 * x.nbytes + 2 * update.nbytes) / taken / 1e12,
        }  # fmt: skip
    del exact, summed, normed
    heads, weight = (config.num_heads, config.head_dim), normal(config.dim)
    grid = (latent_of(row).frames, latent_of(row).height // 2, latent_of(row).width // 2)
    rope = rope_table(grid, config.head_dim, device)
    wide = norm_heads_reference(update.double(), weight.double(), 1e-6, heads, rope)
    for name, headed in (("norm_heads", norm_heads), ("norm_heads.plain", norm_heads_reference)):
        result = headed(update, weight, 1e-6, heads, rope)
        taken = statistics.median(seconds(partial(headed, update, weight, 1e-6, heads, rope), device, 5))
        found[name] = {
            "seconds": taken, "relative_error": relative(result, wide),
            "tera_bytes_per_second": 2 * update.nbytes / taken / 1e12,
        }  # fmt: skip
    return found


# ------------------------------------------------------------------------------------------------------- forward passes


def dtype_of_parameter(name: str) -> torch.dtype:
    """As the loader has it in bf16."""
    return torch.float32 if FP32_MODULES.search(name) else DTYPES["bf16"]


def inputs(row: Row, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latent, timestep, and a text of full length."""
    config, latent = row.sizes.dit, latent_of(row)
    draw = torch.Generator(device).manual_seed(1)
    x = torch.randn(1, config.in_dim, latent.frames, latent.height, latent.width, device=device, generator=draw)
    text = torch.randn(1, config.text_len, config.text_dim, device=device, generator=draw).bfloat16()
    timestep = torch.tensor([500.0], device=device)
    if config.per_token_timestep:
        timestep = timestep.expand(1, row.tokens).clone()
        timestep[:, : row.tokens // latent.frames] = 0
    return x, timestep, text


@torch.no_grad()
def forward(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Our passes, plain and exact."""
    row = row_of(name, small=small)
    network = materialised(lambda: WanDiT(row.sizes.dit), device, dtype_of_parameter)
    x, timestep, text = inputs(row, device)
    cache = network.text_keys_values(text)

    def run() -> Tensor:
        result: Tensor = network(x, timestep, text_cache=cache)
        return result

    let_go(device)
    plain = run()
    found: dict[str, Any] = {"tokens": row.tokens, "plain": seconds(run, device, 1, 0), "plain_peak_gib": peak(device)}
    if device.type == "cuda":
        call_attention(network, cudnn_attention)
    found["plain_cudnn"] = seconds(run, device, 1, 0)
    run_as(network.text_blocks(), fused_block)
    exact = run()
    peak(device)
    found["exact"] = seconds(run, device, 2, 0)
    found["exact_peak_gib"] = peak(device)
    found["relative_error"] = relative(exact, plain)
    found["repeats"] = torch.equal(run(), exact)
    if device.type == "cuda":
        found["kernels"] = profile(run)
    found |= light_passes(network, run, plain, device, seconds, small=small)
    if device.type == "cuda" and "sparse" in found:
        found["sparse_kernels"] = profile(run)
    return found


def light(device: torch.device, *, small: bool) -> dict[str, Any]:
    """Kernels of lighter passes by themselves, at the sizes of the models."""
    found: dict[str, Any] = {}
    for name in ROWS:
        row = row_of(name, small=small)
        config, latent = row.sizes.dit, latent_of(row)
        grid = (latent.frames, latent.height // 2, latent.width // 2)
        found[name] = light_attention(grid, config.num_heads, config.head_dim, device, seconds, small=small)
        heads = (config.num_heads, config.head_dim)
        found[f"{name}.operations"] = light_operations(row.tokens, config.dim, config.ffn_dim, heads, device, seconds)
        let_go(device)
    return found


def profile(run: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of one pass by kernel, the largest first."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    with watch(activities=[ProfilerActivity.CUDA]) as seen:
        run()
        torch.cuda.synchronize()
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_device_time_total)
    return {f"{row.key[:90]} x{row.count}": round(row.self_device_time_total / 1000, 3) for row in rows[:25]}


@torch.no_grad()
def peer(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Passes of diffusers: eager, and with its blocks compiled."""
    from diffusers import WanTransformer3DModel

    row = row_of(name, small=small)
    config: DitConfig = row.sizes.dit
    with torch.device("meta"):
        network = WanTransformer3DModel(
            num_attention_heads=config.num_heads, attention_head_dim=config.head_dim, in_channels=config.in_dim,
            out_channels=config.out_dim, text_dim=config.text_dim, freq_dim=config.freq_dim, ffn_dim=config.ffn_dim,
            num_layers=config.num_layers,
        )  # fmt: skip
    rope = network.rope.__class__(config.head_dim, (1, 2, 2), 1024)
    network = network.to_empty(device=device).eval()
    network.rope = rope.to(device)
    for key, parameter in network.named_parameters():
        kept = any(part in key for part in network._keep_in_fp32_modules)
        parameter.data = parameter.data.to(torch.float32 if kept else torch.bfloat16)
        if parameter.ndim > 1:
            parameter.data.normal_(0, parameter[0].numel() ** -0.5)
        else:
            parameter.data.fill_(1 if "norm" in key and key.endswith("weight") else 0)
    x, timestep, text = inputs(row, device)
    call = {"hidden_states": x.bfloat16(), "timestep": timestep, "encoder_hidden_states": text, "return_dict": False}
    found: dict[str, Any] = {}
    if device.type == "cuda":
        network.set_attention_backend("_native_cudnn")
    found["eager"] = seconds(lambda: network(**call), device, 1)
    network.compile_repeated_blocks(fullgraph=True)
    start = time.perf_counter()
    found["compiled"] = seconds(lambda: network(**call), device, 2, 2)
    found["with_compiling"] = time.perf_counter() - start
    found["peak_gib"] = peak(device)
    return found


# ----------------------------------------------------------------------------------------------------------------- VAE


def drain(work: Callable[[Tensor], Iterable[Tensor]], x: Tensor) -> None:
    """Compute all that ``work`` yields of ``x``."""
    for _ in work(x):
        pass


@torch.no_grad()
def vae(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Decoding and encoding of a whole video by the stream, in bf16; fp32 beside it for the error of a few frames."""
    row = row_of(VAES[name], small=small)
    config, latent = row.sizes.vae, latent_of(row)
    draw = torch.Generator(device).manual_seed(0)
    z = torch.randn(1, config.z_dim, latent.frames, latent.height, latent.width, device=device, generator=draw)
    found: dict[str, Any] = {"frames": row.video.frames}
    decoded: dict[str, Tensor] = {}
    network = materialised(lambda: WanVae(config), device, lambda _: torch.float32)
    for precision in ("fp32", "bf16"):
        network = network.to(DTYPES[precision])
        channels_last(network)
        decoded[precision] = network.decode(z[:, :, :3])
        let_go(device)
        some, repeats = (z[:, :, :3], 1) if precision == "fp32" else (z, 2)
        taken = seconds(partial(drain, network.decode_chunks, some), device, repeats)
        found[f"decode_{precision}_{some.shape[2]}"] = taken
        found[f"decode_{precision}_peak_gib"] = peak(device)
    shape = (1, 3, row.video.frames, row.video.height, row.video.width)
    video = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, torch.bfloat16)
    found["encode_bf16"] = seconds(partial(drain, network.encode_chunks, video), device, 1)
    if device.type == "cuda":
        found["kernels"] = profile(partial(drain, network.decode_chunks, z[:, :, :6]))
    found["relative_error"] = relative(decoded["bf16"], decoded["fp32"])
    return found


@torch.no_grad()
def vae_peer(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Decoding and encoding by diffusers, in bf16, for the VAE of Wan 2.1."""
    from diffusers import AutoencoderKLWan

    row = row_of(VAES[name], small=small)
    if name != "vae21" or small:
        return {}
    network = AutoencoderKLWan().to(device, torch.bfloat16).eval()
    z = torch.randn(1, 16, latent_of(row).frames, latent_of(row).height, latent_of(row).width, device=device).bfloat16()
    video = torch.randn(1, 3, row.video.frames, row.video.height, row.video.width, device=device).bfloat16()
    found: dict[str, Any] = {"decode": seconds(lambda: network.decode(z), device, 1)}
    found["peak_gib"] = peak(device)
    found["encode"] = seconds(lambda: network.encode(video), device, 1)
    return found


# ----------------------------------------------------------------------------------------------------------------- runs


def run(options: argparse.Namespace) -> int:
    """Measure the parts; the number that failed."""
    device = torch.device("cpu" if options.smoke else options.device)
    hardware = "a processor" if options.smoke else torch.cuda.get_device_name(device)
    content: dict[str, Any] = {
        "mode": "smoke" if options.smoke else "true", "hardware": hardware, "versions": versions(), "date": today(),
        "commit": commit(), "parts": {},
    }  # fmt: skip
    failed = 0
    small = options.smoke
    single = {"attention": attention, "operations": operations, "light": light}
    works: dict[str, Callable[[], dict[str, Any]]] = {}
    for name in options.only or PARTS:
        if name in single:
            works[name] = partial(single[name], device, small=small)
            continue
        ours, theirs = (forward, peer) if name in ROWS else (vae, vae_peer)
        works[name] = partial(ours, name, device, small=small)
        if not options.no_peer:
            works[f"{name}.diffusers"] = partial(theirs, name, device, small=small)
    for name, work in works.items():
        start = time.perf_counter()
        try:
            if name.endswith(".diffusers"):
                content["parts"][name] = work()
            else:
                with repeatable(torch.get_num_threads()):
                    content["parts"][name] = work()
        except Exception as error:  # one part must not cost the others
            failed += 1
            content["parts"][name] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
            traceback.print_exc()
        let_go(device)
        print(f"{name} ({time.perf_counter() - start:.1f} s): {json.dumps(content['parts'][name])}", flush=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return failed


def merge(paths: Sequence[Path], stated: str | None) -> None:
    """Write the claims of runs."""
    for content, facts in finished_runs(paths, stated):
        numbers = [number for name, part in content["parts"].items() for number in numbers_of(name, part)]
        report(write("forward", numbers, **facts))


def numbers_of(name: str, part: dict[str, Any]) -> list[Measured]:
    """What a part claims."""
    key, _, whose = name.partition(".")
    if key not in CLAIMED or "failed" in part:
        return []
    wanted = {
        "exact": "exact", "plain": "plain", "plain_cudnn": "plain_cudnn", "compiled": "diffusers",
        "decode": "decode.diffusers",
        "encode": "encode.diffusers", "encode_bf16": "encode",
        "8bit": "8bit", "8bit_products": "8bit_products", "sparse": "sparse", "sparse_bf16": "sparse_bf16",
        "flash4": "exact_flash4",
    }  # fmt: skip
    wanted |= {field: "decode" for field in part if field.startswith("decode_bf16_") and "peak" not in field}
    found = [
        Measured(f"{CLAIMED[key]}.{label}", round(statistics.median(part[field]), 4), "s", higher_is_better=False)
        for field, label in wanted.items()
        if field in part
    ]
    if "relative_error" in part and not whose:
        found.append(Measured(f"{CLAIMED[key]}.relative_error", float(f"{part['relative_error']:.3g}"), ""))
    for label in ("8bit", "8bit_products"):
        if f"{label}.relative_error" in part:
            error = float(f"{part[f'{label}.relative_error']:.3g}")
            found.append(Measured(f"{CLAIMED[key]}.{label}.relative_error", error, ""))
    for group, milliseconds in grouped(part.get("kernels", {})).items():
        found.append(Measured(f"{CLAIMED[key]}.profile.{group}", round(milliseconds, 1), "ms"))
    return [Measured(m.id, m.value, m.unit, GOALS.get(m.id), False) for m in found]


def grouped(kernels: dict[str, float]) -> dict[str, float]:
    """Milliseconds of a pass, or of decoding six latent frames, by kind of kernel."""
    found: dict[str, float] = {}
    for name, milliseconds in kernels.items():
        group = next((group for group, marks in KINDS.items() if any(mark in name for mark in marks)), "other")
        found[group] = found.get(group, 0.0) + milliseconds
    return found


def main() -> int:
    """Measure, or merge what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file of the run, rewritten after every part")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--device", default="cuda:0", help="cuda:N")
    parser.add_argument("--no-peer", action="store_true", help="leave out diffusers")
    parser.add_argument("--smoke", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--merge", nargs="+", type=Path, metavar="FILE", help="write the claims of runs")
    parser.add_argument("--commit", help="with --merge: of runs that took place where there is no git")
    options = parser.parse_args()
    if options.merge:
        merge(options.merge, options.commit)
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
