"""Inversion attacks, one a file, and the decoders that they train."""
