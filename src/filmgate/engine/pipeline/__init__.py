"""Plan to frames: encode, denoise, decode. The only assembly of models, checkpoints, sampling and runtime."""
