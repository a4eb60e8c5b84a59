"""Whether a path may be opened: a file, and neither a pipe nor a device nor a socket; its hash.

Opening a pipe waits for somebody to write into it, for ever; a device may be endless.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def find_obstacle(path: Path) -> str:
    """Find why a path must not be opened.

    Returns:
        In one line; "" for a file or a folder.
    """
    try:
        path.name.encode("utf-8")
        mode = path.stat().st_mode
    except UnicodeEncodeError:
        return "its name is no text (not UTF-8); rename it"
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such file"
    except (OSError, ValueError) as error:  # a link to itself, among others
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    kind = next((words for holds, words in _KINDS if holds(mode)), None)
    return f"{kind} is no file" if kind else ""


def show_name(name: str) -> str:
    """Write a name as text, with what is none of it written out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def hash_file(path: Path) -> str:
    """Compute the SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
