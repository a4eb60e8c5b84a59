"""Reads every hostile input, each kind in a process of its own whose memory is bounded.

python -m tests.hostile.run_inputs            # a line of JSON for each input
python -m tests.hostile.run_inputs --table    # how many of each kind, and what they cost
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.hostile.hostile import Hostile
from tests.hostile.inputs import KINDS

ADDRESSES = 6_000_000_000  # bytes of a process, with what libraries reserve and do not use
SECONDS = 500  # for a kind, on a machine that has much else to do

# Kinds in which something waits for a network, so that many go on side by side.
WAITING = ("addresses of images", "answers of image servers")

# What an input may be answered with, beside a result.
DOCUMENTED = (ValueError, OSError, LookupError)


@dataclass(frozen=True)
class Outcome:
    """What came of an input.

    Attributes:
        kind: Of the table.
        name: Of the input.
        words: What was said, 2,000 characters of it at most.
        refused: Whether that is the expected refusal.
        seconds: Until then, by the clock; the first of some kinds imports libraries.
        cpu: Seconds of computing until then, in the process of the kind.
        peak: Bytes of memory that the process of the kind, or a child of it, has held so far.
    """

    kind: str
    name: str
    words: str
    refused: bool
    seconds: float
    cpu: float
    peak: int


def read(kind: str, hostile: Hostile) -> Outcome:
    """Build an input and read it."""
    with tempfile.TemporaryDirectory() as folder:
        built = hostile.build(Path(folder))
        started, begun = time.monotonic(), time.process_time()
        try:
            words = str(hostile.read(built))
        except DOCUMENTED as error:
            words = str(error)
        except Exception as error:  # the refusal cannot match it
            words = f"UNDOCUMENTED {type(error).__name__}: {error}"
        seconds, cpu = time.monotonic() - started, time.process_time() - begun
    sound = not words.startswith("UNDOCUMENTED") and "Traceback" not in words
    refused = sound and re.search(hostile.refusal, words, re.DOTALL) is not None
    used = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(who).ru_maxrss for who in used) * 1024
    return Outcome(kind, hostile.name, words[:2000], refused, seconds, cpu, peak)


def run_kind(kind: str, out: Path) -> None:
    """Read the inputs of a kind; an outcome is a line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    tempfile.tempdir = str(out.parent)
    with (
        out.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ThreadPoolExecutor(16 if kind in WAITING else 1) as pool,
    ):
        for outcome in pool.map(lambda hostile: read(kind, hostile), KINDS[kind]()):
            file.write(json.dumps(asdict(outcome)) + "\n")
            file.flush()


def run_inputs() -> Iterator[Outcome]:
    """Read all of them, two kinds at a time; a kind whose process ends early yields what it has."""
    waiting, running = list(KINDS), dict[int, tuple[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            if waiting and len(running) < 2:
                kind = waiting.pop(0)
                place = Path(folder) / str(len(waiting))
                place.mkdir()
                pid = os.fork()  # what the kinds import is imported once
                if pid == 0:
                    run_and_exit(kind, place / "outcomes.jsonl")
                running[pid] = kind, time.monotonic()
                continue
            done, _ = os.waitpid(-1, os.WNOHANG)
            running.pop(done, None)
            for pid, (_, started) in running.items():
                if time.monotonic() - started > SECONDS:
                    os.kill(pid, 9)
            time.sleep(0.02)
        for file in sorted(Path(folder).glob("*/outcomes.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                yield Outcome(**json.loads(line))


def run_and_exit(kind: str, out: Path) -> None:
    """Be the process of a kind."""
    code = 1
    try:
        run_kind(kind, out)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Print the outcomes, or the table of them."""
    outcomes = list(run_inputs())
    if "--table" not in sys.argv:
        for outcome in outcomes:
            print(json.dumps(asdict(outcome)))
        return
    print("| kind | inputs | not refused | most memory, MB | longest, s | of these CPU |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in (*KINDS, "all"):
        of = [outcome for outcome in outcomes if kind in ("all", outcome.kind)]
        wrong = sum(not outcome.refused for outcome in of)
        peak, longest = max(o.peak for o in of) / 1e6, max(o.seconds for o in of)
        cpu = max(o.cpu for o in of)
        print(f"| {kind} | {len(of):,} | {wrong} | {peak:.0f} | {longest:.1f} | {cpu:.1f} |")


if __name__ == "__main__":
    main()
