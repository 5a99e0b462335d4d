"""What a hub learns: losses, what is learned from, and the training of encoders."""
