"""Every hostile input of the table is refused in words, within bounds of memory and time."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.inputs import list_inputs

MEMORY = 2_000_000_000  # bytes that reading all of them may take at its highest
ADDRESSES = 6_000_000_000  # with what libraries reserve and do not use


@pytest.mark.timeout(300)
def test_every_hostile_input_is_refused_in_words() -> None:
    inputs = list_inputs()
    assert len(inputs) >= 200 and len({hostile.name for hostile in inputs}) == len(inputs)
    child = subprocess.run(
        [sys.executable, "-m", "tests.hostile.run_inputs"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES)),
    )
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    read = {name: (outcome, peak) for name, outcome, _, peak in lines}
    unread = [hostile.name for hostile in inputs if hostile.name not in read]
    assert not unread and child.returncode == 0, (unread[:3], child.stderr[-500:])
    wrong = [
        (hostile.name, read[hostile.name][0][:200], hostile.refusal)
        for hostile in inputs
        if not re.search(hostile.refusal, read[hostile.name][0], re.DOTALL)
    ]
    assert not wrong, "\n".join(map(str, wrong))
    assert max(peak for _, peak in read.values()) < MEMORY
