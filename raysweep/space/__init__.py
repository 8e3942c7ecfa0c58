"""A search space: its YAML, its axes and its configurations."""
