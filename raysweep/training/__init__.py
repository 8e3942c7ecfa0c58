"""Recipes, the training loop, and the trained targets that it returns."""
