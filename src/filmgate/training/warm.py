"""Compiles what a later stage runs and exits: beside another process, so that the stage finds it in the cache.

python -m filmgate.training.warm renderer [--member NAME] [--compiled FILE] | reader --vae FILE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from filmgate.training.compiled import carry, fetch
from filmgate.training.members import MEMBERS, T2V
from filmgate.training.read_training import Recipe, Store, trained_vae
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import add_world_option
from filmgate.training.world.render import Renderer, chunk_of
from filmgate.training.world.scenes import sample_scenes


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("renderer", "reader"))
    parser.add_argument("--vae", type=Path, help="for the reader, which also sees clips as the VAE returns them")
    parser.add_argument("--member", choices=sorted(MEMBERS), default=T2V.name, help="for the renderer: whose clips")
    parser.add_argument("--compiled", type=Path, help="compiled kernels of an earlier sitting, and where they are kept")
    add_world_option(parser)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.what == "renderer":
        fetch(options.compiled)
        generator, clip = torch.Generator(device).manual_seed(0), MEMBERS[options.member].clip
        chunk = chunk_of(clip, device, compiled=True)
        Renderer(clip, compile_shader=True)(sample_scenes(chunk, generator, world=options.world))
        carry(options.compiled)
        return
    if options.vae is None:
        parser.error("the reader needs --vae")
    recipe = Recipe(clips=Recipe.chunk, world=options.world)
    Store(recipe, ClipFormat(), trained_vae(options.vae, device), device, seed=0, compiled=True).chunk(coded=True)


if __name__ == "__main__":
    main()
