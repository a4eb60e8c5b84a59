"""Text of others made fit for a terminal or a log: what it cannot do is move, colour or forge.

Names of files, labels, tasks and hosts may hold line breaks, escape sequences, marks that turn the
direction of writing, and halves of surrogate pairs, which no encoding takes.
"""

from __future__ import annotations

import logging
import re

# Controls (C0, DEL, C1), line and paragraph separators, marks of direction, surrogates.
_UNSAFE = "\\x00-\\x1f\\x7f-\\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ALL = re.compile(f"[{_UNSAFE}\ud800-\udfff]")
_BUT_LINES = re.compile(f"(?![\n\t])[{_UNSAFE}\ud800-\udfff]")

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# A line of a log is cut after so many characters.
MOST_CHARACTERS = 2000


def escape_controls(text: str, *, keep_lines: bool = False) -> str:
    r"""Write characters that are no text as escapes, such as `\u001b` and `\n`, as JSON does.

    Args:
        text: Any text.
        keep_lines: Leave line breaks and tabs as they are.
    """
    return (_BUT_LINES if keep_lines else _ALL).sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0], f"\\u{ord(found[0]):04x}")


class OneLineFormatter(logging.Formatter):
    """Writes each record so that no other can hide in it.

    The message is one line, cut where it is very long; the lines of a traceback are set in, so that
    none looks like a record of its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the record without its traceback."""
        line = escape_controls(super().formatMessage(record))
        if len(line) <= MOST_CHARACTERS:
            return line
        return f"{line[:MOST_CHARACTERS]}... ({len(line)} characters)"

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        first, *rest = super().format(record).split("\n")
        return "\n".join([first, *(f"    {escape_controls(line)}" for line in rest)])


def configure_logging(level: int = logging.WARNING) -> None:
    """Let all loggers of this process write one line a record to stderr.

    Args:
        level: What is less grave is not written.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
