"""One forward pass of the diffusion transformer at true size, ours and that of diffusers, and the VAE: on one GPU.

    python bench/forward.py --json OUT [--only attention operations light launches guidance a14b-720p vae21 ...]
    python bench/forward.py --smoke --json OUT       tiny networks on the CPU, the same code
    python bench/forward.py --merge OUT ...          writes the claims of runs

Random bf16 weights. A pass is of one text, without guidance; the first one or two, which also compile and choose
algorithms, are not counted, and the median of the others is kept. diffusers runs the same sizes in the same process
after ours is gone: ``WanTransformer3DModel`` with ``compile_repeated_blocks`` and cuDNN's attention, its fastest way
that needs nothing installed, and ``AutoencoderKLWan`` in bf16.

``8bit`` and ``sparse`` are lighter passes, see bench/light_forward.py: products and self-attention in e4m3; and with a
quarter of the blocks of keys beside, as the first recipe of ``fast`` has them. Every claim of a pass says in its
versions which dense attention it called. Single kernels, compiled blocks, CUDA graphs and batches of guidance claim in
a file of their own (``kernels.*``, bench/kernels_table).

``exact`` is what every request gets; how far its velocity is from that of the plain model, in bf16 and in the same
process, is ``relative_error``: ‖fast − plain‖ / ‖plain‖.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from claims import Measured, commit, finished_runs, report, today, versions, write
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.pipeline.speed import TRANSFORMER
from filmgate.engine.runtime.attention_race import KERNELS
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.runtime.prepare import Choices, prepare
from forward_claims import kernel_numbers, numbers_of
from forward_launches import guidance, launches
from forward_measure import ROWS, dtype_of_parameter, inputs, latent_of, let_go, peak, relative, row_of, seconds
from forward_operations import attention, operations
from forward_profile import blocks, profile
from forward_vae import VAES, vae, vae_peer
from light_forward import Passes, light_attention, light_operations, light_passes, usual_kernel
from true_size_weights import materialised

PARTS = ("attention", "operations", "light", "launches", "guidance", *ROWS, *VAES)


# ------------------------------------------------------------------------------------------------------- forward passes


@torch.no_grad()
def forward(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Our passes, plain and exact."""
    row = row_of(name, small=small)

    def build() -> WanDiT:
        return materialised(lambda: WanDiT(row.sizes.dit), device, dtype_of_parameter)

    network = build()
    x, timestep, text = inputs(row, device)
    cache = network.text_keys_values(text)

    def one_pass(network: WanDiT) -> Tensor:
        result: Tensor = network(x, timestep, text_cache=cache)
        return result

    run = partial(one_pass, network)
    let_go(device)
    plain = run()
    found: dict[str, Any] = {"tokens": row.tokens, "plain": seconds(run, device, 1, 0), "plain_peak_gib": peak(device)}
    kernel = usual_kernel(device)
    prepare(network, Choices(attend=KERNELS[kernel]), TRANSFORMER)
    found["plain_cudnn"] = seconds(run, device, 1, 0)
    prepare(network, Choices(forward=fused_block), TRANSFORMER)
    exact = run()
    peak(device)
    found["exact"] = seconds(run, device, 2, 0)
    found["exact_peak_gib"] = peak(device)
    found["relative_error"] = relative(exact, plain)
    found["repeats"] = torch.equal(run(), exact)
    found |= {"plain.attention": "torch", "plain_cudnn.attention": kernel, "exact.attention": kernel}
    found["kernels"] = profile(run, device)
    found["blocks"] = blocks(network, run, device)
    del network, run, exact
    found |= light_passes(Passes(build, one_pass, plain, device), small=small)
    return found


def light(device: torch.device, *, small: bool) -> dict[str, Any]:
    """Kernels of lighter passes by themselves, at the sizes of the models."""
    found: dict[str, Any] = {}
    for name in ROWS:
        row = row_of(name, small=small)
        config, latent = row.sizes.dit, latent_of(row)
        grid = (latent.frames, latent.height // 2, latent.width // 2)
        found[name] = light_attention(grid, config.num_heads, config.head_dim, device, small=small)
        heads = (config.num_heads, config.head_dim)
        found[f"{name}.operations"] = light_operations(row.tokens, config.dim, config.ffn_dim, heads, device)
        let_go(device)
    return found


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
    single = {
        "attention": attention, "operations": operations, "light": light, "launches": launches, "guidance": guidance,
    }  # fmt: skip
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
    """Write the claims of runs: those of passes, by the dense attention that they were made with, and those of kernels
    in a file of their own."""
    for content, facts in finished_runs(paths, stated):
        by_kernel: dict[str | None, list[Measured]] = {}
        for name, part in content["parts"].items():
            for kernel, number in numbers_of(name, part):
                by_kernel.setdefault(kernel, []).append(number)
        for kernel, numbers in by_kernel.items():
            report(write("forward", numbers, **_with(facts, kernel)))
        kernels = list(kernel_numbers(content["parts"]))
        if kernels:
            report(write("forward_kernels", kernels, **facts))


def _with(facts: dict[str, Any], kernel: str | None) -> dict[str, Any]:
    """What is known of a run, and which dense attention it called."""
    if kernel is None:
        return facts
    known = facts["known"]
    return {**facts, "known": {**known, "versions": {**known["versions"], "attention": kernel}}}


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
