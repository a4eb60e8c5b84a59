"""Every hostile input of the table is refused in words, within bounds of memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.inputs import KINDS

MEMORY = 2_000_000_000  # bytes that reading one of them may take at its highest
SECONDS = 30.0  # of computing; what waits without end is ended, and then missing


@pytest.mark.timeout(900)
def test_every_hostile_input_is_refused_in_words() -> None:
    expected = {kind: [hostile.name for hostile in make()] for kind, make in KINDS.items()}
    assert sum(map(len, expected.values())) >= 1000
    for kind, names in expected.items():
        assert len(set(names)) == len(names), kind
    child = subprocess.run(
        [sys.executable, "-m", "tests.hostile.run_inputs"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.returncode == 0 and "Traceback" not in child.stderr, child.stderr[-2000:]
    outcomes = [json.loads(line) for line in child.stdout.splitlines()]
    read = {kind: [o["name"] for o in outcomes if o["kind"] == kind] for kind in KINDS}
    assert read == expected  # in their order: the first that is missing ended its process
    wrong = [f"{o['kind']}: {o['name']}: {o['words'][:200]}" for o in outcomes if not o["refused"]]
    assert not wrong, "\n".join(wrong)
    assert max(o["peak"] for o in outcomes) < MEMORY
    assert max(o["cpu"] for o in outcomes) < SECONDS
