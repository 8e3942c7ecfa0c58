"""Recipes, the training loop and trained targets."""
