"""The stages of a hub's training, each judged on categories that it has not seen."""
