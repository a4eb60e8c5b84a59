"""Reads every hostile input in this process and prints a line of JSON for each."""

from __future__ import annotations

import json
import resource
import signal
import tempfile
import time
from pathlib import Path

from tests.hostile.inputs import list_inputs

SECONDS = 30


def main() -> None:
    """Read all of them; one that takes longer than SECONDS ends the process."""
    for hostile in list_inputs():
        with tempfile.TemporaryDirectory() as folder:
            built = hostile.build(Path(folder))
            signal.alarm(SECONDS)
            started = time.monotonic()
            try:
                outcome = str(hostile.read(built))
            except Exception as error:  # the test judges what was said
                outcome = str(error)
                if not isinstance(error, ValueError | OSError):
                    outcome = f"UNDOCUMENTED {type(error).__name__}: {error}"
            signal.alarm(0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        line = [hostile.name, outcome[:2000], time.monotonic() - started, peak]
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
