"""A bucket of S3 or the like, as a place for small files that appear whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class ObjectStore:
    """Objects below an address; each is replaced in one move.

    Credentials and endpoints come from where the store's library looks for them, such as
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL.
    """

    def __init__(self, url: str) -> None:
        """Open it; nothing is asked yet.

        Args:
            url: As fsspec writes it: s3://bucket/folder.

        Raises:
            ValueError: fsspec does not know the scheme, or its package is not installed.
        """
        import fsspec

        self._url = url
        try:
            self._system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            extra = ": uv sync --extra s3" if url.startswith("s3://") else ""
            raise ValueError(f"{url}: {error}{extra}") from error
        self._root = root.rstrip("/")

    def list_marks(self, folder: str) -> dict[str, str]:
        """List the objects directly below a folder.

        Returns:
            By name, what is another text once the object was replaced.

        Raises:
            OSError: The store cannot be used; why, in one line.
        """
        with self._explaining("listed"):
            try:
                entries = self._system.ls(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                return {}
        return {
            entry["name"].rsplit("/", 1)[-1]: _make_mark(entry)
            for entry in entries
            if entry["type"] == "file"
        }

    def has(self, name: str) -> bool:
        """Tell whether there is an object of that name.

        Raises:
            OSError: The store cannot be used.
        """
        with self._explaining("read"):
            return bool(self._system.exists(f"{self._root}/{name}"))

    def read(self, name: str) -> bytes:
        """Read an object.

        Raises:
            FileNotFoundError: There is none of that name.
            OSError: The store cannot be used.
        """
        with self._explaining("read"):
            return self._system.cat_file(f"{self._root}/{name}")

    def download(self, name: str, path: Path) -> None:
        """Read an object into a file.

        Raises:
            FileNotFoundError: There is none of that name.
            OSError: The store cannot be used, or the file not be written.
        """
        with self._explaining("read"):
            self._system.get_file(f"{self._root}/{name}", str(path))

    def write(self, name: str, content: bytes) -> None:
        """Write an object.

        Raises:
            OSError: The store cannot be used.
        """
        with self._explaining("written"):
            self._system.pipe_file(f"{self._root}/{name}", content)

    def upload(self, path: Path, name: str) -> None:
        """Write a file's content into an object.

        Raises:
            OSError: The store cannot be used, or the file not be read.
        """
        with self._explaining("written"):
            self._system.put_file(str(path), f"{self._root}/{name}")

    def measure(self, name: str) -> int:
        """Return the size of an object in bytes; 0 where there is none of that name.

        Raises:
            OSError: The store cannot be used.
        """
        try:
            with self._explaining("read"):
                return int(self._system.size(f"{self._root}/{name}") or 0)
        except FileNotFoundError:
            return 0

    def remove(self, name: str) -> None:
        """Remove an object; nothing happens where there is none of that name.

        Raises:
            OSError: The store cannot be used.
        """
        with self._explaining("written"), suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}")

    def try_out(self) -> None:
        """Write an object, and remove it again.

        Raises:
            OSError: The store cannot be used; why, in one line.
        """
        name = f"probe-{secrets.token_hex(4)}"
        self.write(name, b"")
        self.remove(name)

    @contextmanager
    def _explaining(self, verb: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each library below fsspec raises errors of its own
            if verb == "read" and isinstance(error, FileNotFoundError):
                raise
            words = str(error).strip() or type(error).__name__
            raise OSError(f"{self._url} cannot be {verb}: {words.splitlines()[0]}") from error


def _make_mark(entry: dict[str, Any]) -> str:
    tag = entry.get("ETag") or entry.get("etag")
    return str(tag or (entry.get("LastModified") or entry.get("mtime"), entry["size"]))
