"""A search space: YAML -> axes -> configurations."""
