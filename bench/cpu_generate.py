"""`filmgate generate` with the shipped model on two cores, and its steps beside those of diffusers on the same weights.

    python bench/cpu_generate.py [--runs 3]

Whole processes, from the shell's call to their return, the packed weights unpacked already (a first run does that
once): the bare command, the full sampler (--distilled none), and the few steps of the model's own LoRAs, if it has
some. Then diffusers' seconds per step divided by ours, of the full sampler: WanPipeline of the test extra, the same
weights, sizes, steps, boundary and guidance, text of the same length, fp32, the same threads, in this run, the two
alternating. Steps of either side are medians over all steps of all runs, without each run's first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from claims import Measured, report, write

CORES = 2
PROMPT = "a red ball rolls to the right past a blue cube, sunset"
FULL = ("--distilled", "none")
GOALS = {"generate": 10.0, "generate_full": 25.0, "generate_distilled": 10.0}
"""Seconds of a whole process."""
PROGRAM = str(Path(sys.executable).with_name("filmgate"))


def generate(folder: Path, *options: str) -> tuple[float, dict[str, Any]]:
    """Seconds of one whole process, and the take that it reported."""
    files = ["--output", str(folder / "clip.mp4"), "--overwrite"]
    command = [PROGRAM, "generate", PROMPT, *options, *files, "--json", "--quiet"]
    start = time.perf_counter()
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, json.loads(run.stdout)["take"]


def diffusers_steps(plan: dict[str, Any]) -> list[float]:
    """Seconds of every step of diffusers' pipeline on the plan's weights."""
    code = [sys.executable, __file__, "--diffusers", "-"]
    run = subprocess.run(code, input=json.dumps(plan), check=True, capture_output=True, text=True)
    return list(json.loads(run.stdout.splitlines()[-1]))


def run_diffusers(plan: dict[str, Any]) -> list[float]:
    """The same, inside the process of its own that :func:`diffusers_steps` starts."""
    import torch
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
    from safetensors.torch import load_file

    model, dit = plan["model"], plan["model"]["dit"]

    def transformer(expert: dict[str, Any]) -> WanTransformer3DModel:
        folder = Path(model["path"]) / expert["path"]
        tensors = {
            name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()
        }
        net = WanTransformer3DModel(
            in_channels=dit["in_channels"], out_channels=dit["out_channels"], num_attention_heads=dit["heads"],
            attention_head_dim=dit["dim"] // dit["heads"], num_layers=dit["layers"], ffn_dim=dit["ffn_dim"],
            text_dim=dit["text_dim"], freq_dim=dit["freq_dim"], cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        )  # fmt: skip
        net.load_state_dict(convert_wan_transformer_to_diffusers(tensors))
        return net.float().eval()

    high, low = (transformer(expert) for expert in sorted(model["experts"], key=lambda e: e["name"]))
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=plan["shift"]
    )
    # The smallest VAE of the right factors: latents are asked for, so it never runs.
    vae = AutoencoderKLWan(base_dim=8, z_dim=dit["in_channels"])
    pipeline = WanPipeline(
        tokenizer=None, text_encoder=None, vae=vae, scheduler=scheduler, transformer=high, transformer_2=low,
        boundary_ratio=plan["boundary"],
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    guidance = {step["expert"]: step["guidance"] for step in plan["steps"]}
    text = torch.randn(2, 1, dit["text_len"], dit["text_dim"], generator=torch.Generator().manual_seed(0))
    moments = [time.perf_counter()]

    def tick(_pipeline: object, _index: int, _timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        moments.append(time.perf_counter())
        return tensors

    pipeline(
        prompt_embeds=text[0], negative_prompt_embeds=text[1], num_inference_steps=len(plan["steps"]),
        num_frames=plan["video"]["frames"], height=plan["video"]["height"], width=plan["video"]["width"],
        guidance_scale=guidance["high_noise"], guidance_scale_2=guidance["low_noise"], output_type="latent",
        callback_on_step_end=tick,
    )  # fmt: skip
    return [after - before for before, after in itertools.pairwise(moments)]


def main() -> None:
    """Measure on two cores and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--diffusers", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.diffusers:
        print(json.dumps(run_diffusers(json.load(sys.stdin))))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    os.environ["OMP_NUM_THREADS"] = str(CORES)
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        _, first = generate(Path(folder))
        few = first["plan"]["model"]["few_step"]
        modes = {
            "generate": (),
            "generate_full": FULL,
            **({"generate_distilled": ("--distilled", few["preset"])} if few else {}),
        }
        whole: dict[str, list[float]] = {name: [] for name in modes}
        for _ in range(options.runs):
            for name, chosen in modes.items():
                seconds, take = generate(Path(folder), *chosen)
                whole[name].append(seconds)
                if chosen == FULL:
                    ours += take["timings"]["steps"][1:]
                    theirs += diffusers_steps(take["plan"])[1:]
    ratio = statistics.median(theirs) / statistics.median(ours)
    measured = [
        *(
            Measured(f"cpu.{name}_seconds", round(statistics.median(seconds), 2), "s", GOALS[name], False)
            for name, seconds in whole.items()
        ),
        Measured("cpu.step_seconds", round(statistics.median(ours), 4), "s", higher_is_better=False),
        Measured("cpu.step_ratio_vs_diffusers", round(ratio, 3), "x", 1.3),
    ]
    report(write("cpu_generate", measured))


if __name__ == "__main__":
    main()
