"""Measure how long the command line takes.

python -m benchmarks.cli [--json]: prints `help_seconds` of `raysweep --help`, `validate_seconds`
of `raysweep validate`, and whether validating imports torch.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import finish, options, spread

RAYSWEEP = str(Path(sys.executable).parent / "raysweep")
SPACE = "search_spaces/quickstart.yaml"
RUNS = 7


def seconds(*command: str) -> float:
    """Return the wall-clock seconds of one command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Run both commands in turn, after one warm-up of each, and print their times."""
    arguments = options(__doc__).parse_args()

    commands = {"help": (RAYSWEEP, "--help"), "validate": (RAYSWEEP, "validate", SPACE)}
    for command in commands.values():
        seconds(*command)

    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            times[name].append(seconds(*command))

    code = (
        "import sys; sys.argv = ['raysweep', 'validate', sys.argv[1]]\n"
        "from raysweep.cli import app\n"
        "app(standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, SPACE], capture_output=True, check=False)
    result = {f"{name}_seconds": spread(values) for name, values in times.items()}
    finish({**result, "validate_imports_torch": bool(done.returncode)}, as_json=arguments.json)


if __name__ == "__main__":
    main()
