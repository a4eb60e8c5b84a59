"""Which files of a version are its network, and which tell what it was.

The network may be removed. What tells of the version stays: its record, the card in its model file,
what it answered when it was judged, pictures.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ml_backend.learners.model_file import FILE_NAME, drop_tensors, has_tensors

_TELLING = (".json", ".png")


def is_network_file(path: str) -> bool:
    """Tell whether a file of a version is of its network, the model file with the card included.

    Args:
        path: In the version's folder, with `/` between folders.
    """
    return "/" in path or PurePosixPath(path).suffix not in _TELLING


def list_network_files(folder: Path) -> list[Path]:
    """List the files of a version that go with its network; of none, where the card alone is left.

    Args:
        folder: Of the version, whether it exists or not.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and is_network_file(path.relative_to(folder).as_posix())
        and not (path == folder / FILE_NAME and not has_tensors(path))
    ]


def remove_network(folder: Path) -> None:
    """Remove the files of a version's network; of its model file, the card stays.

    Raises:
        ValueError: Its model file is not ours.
    """
    for path in list_network_files(folder):
        if path == folder / FILE_NAME:
            drop_tensors(path)
        else:
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
