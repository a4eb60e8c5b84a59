"""What the errors in the logs mean, and what to do about each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Meaning:
    """What an error means.

    Attributes:
        pattern: Finds it in a line of a log.
        means: In a sentence.
        mend: What to do.
    """

    pattern: re.Pattern[str]
    means: str
    mend: str


@dataclass(frozen=True)
class LoggedError:
    """The last error of a log.

    Attributes:
        line: As it stands there, shortened.
        at: When it was written; None where it does not say.
        meaning: None where it is not known.
    """

    line: str
    at: datetime | None
    meaning: Meaning | None


def _means(pattern: str, means: str, mend: str) -> Meaning:
    return Meaning(re.compile(pattern), means, mend)


MEANINGS = (
    _means(
        r"refuses the token",
        "Label Studio does not accept the access token any more",
        "make a new personal access token under Account & Settings, then cytoloop connect with it",
    ),
    _means(
        r"reserved network address|SsrfBlocked",
        "Label Studio's protection forbids it to talk to the backend's address",
        "start Label Studio with ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false, or "
        "cytoloop connect --poll",
    ),
    _means(
        r"has no such project or task.*forgotten|it is forgotten here",
        "the project was deleted in Label Studio",
        "nothing; its versions stay in the data folder",
    ),
    _means(
        r"disk is full|No space left|database or disk is full",
        "the disk was full",
        "make room; what was interrupted goes on by itself",
    ),
    _means(
        r"database is locked",
        "another process held a database for longer than 10 s",
        "see that the data folder is on a local disk, not on a network drive",
    ),
    _means(
        r"the data folder .* cannot be used",
        "the data folder cannot be read or written",
        "see that its disk is there and that the user of the worker owns it",
    ),
    _means(
        r"out of memory|not enough memory|MemoryError|was killed",
        "a training needed more memory than there is",
        "end other programs, or train on smaller images: CYTOLOOP_IMGSZ=640",
    ),
    _means(
        r"not trained: .*(has a mark of a headline class|has no corrected training task)",
        "the corrected images hold nothing to learn from",
        "correct images that show dividing cells, of 'split' train",
    ),
    _means(
        r"not judged|neither was trained on",
        "there is no exam: no corrected image was held out",
        "in the Data Manager filter 'split' by holdout, and correct five to ten",
    ),
    _means(
        r"the hold-out lost task",
        "a held-out task was deleted or its image is gone",
        "nothing; do not compare figures from before and after",
    ),
    _means(
        r"may not be read \(HTTP 40[13]\)|HTTP 401",
        "the server that holds an image refuses it",
        "see the storage's credentials in Label Studio (Settings, Cloud Storage)",
    ),
    _means(
        r"libGL|libgthread",
        "OpenCV lacks a library of the system: it is the build for screens",
        'pip uninstall -y opencv-python, then pip install "opencv-python-headless>=4.13"',
    ),
    _means(
        r"Address already in use|is taken by another program",
        "another program listens on the port",
        "end it, or choose another with --port",
    ),
    _means(
        r"\.safetensors is missing|model\.xml|is missing; make it with",
        "a file of a version was deleted",
        "restore it from a backup, or cytoloop models rollback --project ID",
    ),
    _means(
        r"does not answer|Connection refused|ConnectError",
        "Label Studio, or a server that holds images, did not answer",
        "start it; what was interrupted goes on by itself",
    ),
)

# A record of ours or of Label Studio's, with its time where it stands first.
_RECORD = re.compile(
    r"\[?(?P<at>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)?.*?\b(?P<level>ERROR|CRITICAL|WARNING)\b"
)
# What Label Studio logs as an error and is none: a version is chosen before its first
# pre-annotation is there, and again after it.
_HARMLESS = re.compile("Model version doesn't exist either as live model")
# The last line of a traceback.
_RAISED = re.compile(r"^\s*(\w+\.)*\w*(Error|Exception)\b: ")
_LONGEST = 240


def find_last_error(lines: Sequence[str]) -> LoggedError | None:
    """Find the last error of a log; a warning counts where its meaning is known.

    Args:
        lines: Of the log, oldest first.
    """
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number].strip()
        record = _RECORD.match(line)
        raised = _RAISED.match(line)
        if not (record or raised) or _HARMLESS.search(line):
            continue
        meaning = find_meaning(line)
        # Warnings of Label Studio, which begin with a bracket, tell of tries that went well later.
        noise = meaning is None or line.startswith("[")
        if record and record["level"] == "WARNING" and noise:
            continue
        before = (_RECORD.match(lines[index].strip()) for index in range(number, -1, -1))
        found = next((match["at"] for match in before if match and match["at"]), None)
        at = datetime.fromisoformat(found) if found else None
        short = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
        return LoggedError(short, at, meaning)
    return None


def find_meaning(line: str) -> Meaning | None:
    """Find what an error means; None where it is not known."""
    return next((known for known in MEANINGS if known.pattern.search(line)), None)
