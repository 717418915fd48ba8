"""Training room: the rendered toy world, flow-matching training, readers of generated clips."""
