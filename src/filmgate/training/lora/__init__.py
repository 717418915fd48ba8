"""Fine-tuning a LoRA on a folder of clips: the same trainer for Toybox and for the published Wan models."""
