"""From a recipe to a trained target: the one training loop."""
