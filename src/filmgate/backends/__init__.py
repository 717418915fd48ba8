"""Ways to turn a plan into events: our own engine, a fake, and, each with an extra of its own, other people's."""
