"""Compiles the renderer and exits: run beside another process so that it finds the kernels in the compiler's cache."""

import torch

from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import sample_scenes

if __name__ == "__main__":
    device = "cuda" if torch.cuda.is_available() else "cpu"
    Renderer(compile_shader=True)(sample_scenes(64, torch.Generator(device).manual_seed(0)))
