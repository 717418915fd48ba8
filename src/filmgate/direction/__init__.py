"""A request becomes a plan: presets of the published models, prompts, estimates. Pure, without torch."""
