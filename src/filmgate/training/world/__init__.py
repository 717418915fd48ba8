"""The toy world: a small ray-cast 3-D world whose every clip has an exact caption and exact ground truth."""
