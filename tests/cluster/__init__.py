"""A real Ray cluster on hosts in network namespaces."""
