"""What a worker imports as it starts, before its first trial: Ray Tune and all of a trial.

Nothing of it is ever garbage, so the collector neither looks for garbage meanwhile, which takes a
fifth of the time, nor looks at it again.
"""

import gc

gc.disable()

import ray.tune  # noqa: E402, F401

import raysweep.trial.run  # noqa: E402, F401

gc.freeze()
gc.enable()
