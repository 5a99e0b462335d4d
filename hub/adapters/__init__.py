"""LoRA on the last layers of the encoders."""
