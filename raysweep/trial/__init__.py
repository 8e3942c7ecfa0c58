"""One configuration -> its rows. Read :mod:`raysweep.trial.run` first."""
