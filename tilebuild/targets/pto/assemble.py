"""Runs an assembler that may leave an older output in place: `python -m tilebuild.targets.pto.assemble OUT COMMAND...`.

The old output is deleted first; what the assembler prints is shown only where it fails, for it prints its plan unasked.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """The command's exit status; 1 where it claims success and has written nothing."""
    output, *command = arguments
    Path(output).unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0 and Path(output).is_file():
        return 0
    Path(output).unlink(missing_ok=True)
    sys.stderr.write(done.stdout + done.stderr)
    if done.returncode == 0:
        sys.stderr.write(f"{command[0]} ended with success and wrote no {output}\n")
    return done.returncode or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
