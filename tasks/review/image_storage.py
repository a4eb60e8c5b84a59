"""Where the pictures of tasks are stored, so that Label Studio can show them.

A folder of this machine that Label Studio serves as local files, or a bucket that more than
one machine reaches, which Label Studio shows through a cloud storage of the project.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ml_backend.system.atomic_files import replace_file

# What fsspec calls a scheme, by what Label Studio calls it: the ones that both know.
SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "azure-blob",
    "abfs": "azure-blob",
    "abfss": "azure-blob",
}


class Store(Protocol):
    """A place for pictures; safe among threads."""

    def write(self, name: str, content: bytes) -> None:
        """Write a picture, which is seen whole or not at all; writing it again does no harm.

        Args:
            name: Its path in the store, with slashes.
            content: The bytes of the file.

        Raises:
            OSError: It cannot be written.
        """
        ...

    def make_address(self, name: str) -> str:
        """Make the address by which a task names the picture."""
        ...


@dataclass(frozen=True)
class MediaFolder:
    """The media folder, which Label Studio serves as local files.

    Attributes:
        root: Label Studio's LOCAL_FILES_DOCUMENT_ROOT.
    """

    root: Path

    def write(self, name: str, content: bytes) -> None:
        """See `Store`."""
        with replace_file(self.root / name) as temporary:
            temporary.write_bytes(content)

    def make_address(self, name: str) -> str:
        """See `Store`."""
        return f"/data/local-files/?d={name}"


@dataclass(frozen=True)
class Bucket:
    """A folder of a bucket, which Label Studio shows through a cloud storage of the project.

    In all of SCHEMES an object appears when all of it has arrived. A scheme that is none of them,
    or needs a package, raises ValueError at the first use.

    Attributes:
        url: Of the folder, as fsspec writes it.
    """

    url: str

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        scheme = self.url.partition("://")[0]
        if scheme not in SCHEMES:
            raise ValueError(
                f"{self.url}: Label Studio shows images of {', '.join(f'{s}://' for s in SCHEMES)}"
            )
        try:
            system, root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            extra = ": uv sync --extra s3" if scheme == "s3" else ""
            raise ValueError(f"{self.url}: {error}{extra}") from error
        return system, root.strip("/")

    def write(self, name: str, content: bytes) -> None:
        """See `Store`."""
        system, root = self._opened
        try:
            system.pipe_file(f"{root}/{name}", content)
        except Exception as error:  # each library below fsspec raises errors of its own
            words = str(error).strip() or type(error).__name__
            raise OSError(f"{self.url} cannot be written: {words.splitlines()[0]}") from error

    def make_address(self, name: str) -> str:
        """See `Store`."""
        _, root = self._opened
        return f"{SCHEMES[self.url.partition('://')[0]]}://{root}/{name}"
