"""Run a search space on the cluster that this file was submitted to.

ray submit cluster.yaml sweep_on_cluster.py search_spaces/quickstart.yaml [options of `sweep`]

Paths are relative to the checkout that `ray up` copied. Results go below RAYSWEEP_RESULTS.
"""

import os
import sys
from pathlib import Path

from raysweep.cli import main

if __name__ == "__main__":
    os.chdir(Path.home() / "raysweep")
    sys.argv = ["raysweep", "sweep", *sys.argv[1:], "--address", "auto"]
    main()
