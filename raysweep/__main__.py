"""Run the command line as ``python -m raysweep``."""

from raysweep.cli import main

main()
