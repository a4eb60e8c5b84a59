"""Files that other users of the machine can neither read nor write.

The data folder holds passwords, tokens, and copies of all images and annotations. It is closed as
a whole, and what is most secret in it once more. On Windows a user's folders are closed already.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# What a process of the service makes is its user's alone.
UMASK = 0o077

# In the data folder, Label Studio's included: databases with their logs, passwords, tokens.
_SECRETS = (
    "*.sqlite*", "*.json", "logs/*", "label-studio/*.json", "label-studio/data/*.sqlite*",
    "label-studio/data/.env",
)  # fmt: skip
_FOLDERS = (
    "media", "images", "snapshots", "logs", "label-studio", "label-studio/data",
    "label-studio/data/media",
)  # fmt: skip


def close_data_folder(folder: Path) -> None:
    """Make a data folder that only its owner may enter, or close one that is there.

    Where the system does not let us, because another user owns it, it stays as it is.

    Args:
        folder: The data folder.
    """
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name != "posix":
        return
    for path in (folder, *_list_secrets(folder)):
        with suppress(OSError):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & UMASK:
                path.chmod(stat.S_IMODE(mode) & ~UMASK)


def _list_secrets(folder: Path) -> Iterator[Path]:
    for pattern in _SECRETS:
        with suppress(OSError):
            yield from folder.glob(pattern)
    for name in _FOLDERS:
        yield folder / name


def create_private(path: Path) -> None:
    """Make an empty file that is its user's alone, where there is none yet.

    Whatever writes into it later cannot be read by others for a moment either.
    """
    # A file that is there is not even opened: closing a database that this process also has open
    # elsewhere would drop SQLite's locks on it (POSIX), and other processes would lose its log.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def keep_private() -> None:
    """Let all files that this process and its children make be their user's alone."""
    os.umask(UMASK)
