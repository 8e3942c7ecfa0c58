"""One inversion attack a file, and the decoders that it learns."""
