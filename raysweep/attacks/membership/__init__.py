"""One membership attack a file; the catalogue is :mod:`raysweep.attacks`."""
