"""From the name that a user gives a model to a version that is ready to serve.

A model is a version's name, the path of a .safetensors file of ours, or `starter:KIND`.
Starters and files become versions at first use, so everything else deals with versions only.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import FILE_NAME, IR_FILES, read_card
from ml_backend.registry.starters import PREFIX, find_starter_weights, read_starter
from ml_backend.registry.versions import Registry, UnknownVersion, Version
from ml_backend.system.atomic_files import read_json, write_json
from ml_backend.system.plain_files import hash_file

DEFAULT_MODEL = "starter:mitosis"

# The INT8 form of a version: a folder in the version's folder with the same files, and the report
# of the comparison of the two.
INT8 = "int8"
INT8_REPORT = "report.json"


class NoInt8(LookupError):
    """A version has no INT8 form that was accepted."""


def resolve_model(model: str, registry: Registry) -> Version:
    """Find the version of a model, and make it ready to serve where it is not yet.

    Args:
        model: As the user names it.
        registry: Of the data folder.

    Raises:
        UnknownVersion: There is no such model.
        ValueError: The file is not ours.
        ExportFailed: It cannot be made ready to serve.
    """
    if model.startswith(PREFIX):
        return add_servable_version(read_starter(model), find_starter_weights(model), registry)
    path = Path(model)
    if path.suffix == ".safetensors":
        if not path.exists():
            raise UnknownVersion(f"there is no file {path}")
        kind = read_card(path).kind
        name = f"file-{hash_file(path)[:8]}"
        version = Version(name, "file", time.time(), base=path.name, kind=kind)
        return add_servable_version(version, path, registry)
    if path.suffix == ".npz":
        raise UnknownVersion(f"{path} holds tensors to start a training from (--base), no model")
    return registry.get(model)


def find_base(model: str, registry: Registry) -> tuple[Path | None, Version | None]:
    """Find the file that a training starts from, and the version that it belongs to.

    Args:
        model: As the user names it; "" for the learner's own start.
        registry: Of the data folder.

    Returns:
        The file, None for the learner's own start; the version, None where the file is an .npz.

    Raises:
        UnknownVersion: There is no such model.
        WeightsRemoved: It cannot be trained on any more.
        ValueError: The file is not ours.
    """
    if not model:
        return None, None
    if model.endswith(".npz"):
        if not Path(model).exists():
            raise UnknownVersion(f"there is no file {model}")
        return Path(model), None
    if model.startswith(PREFIX):
        return find_starter_weights(model), read_starter(model)
    version = resolve_model(model, registry)
    registry.get_loadable(version.name)
    return registry.get_folder(version.name) / FILE_NAME, version


def add_servable_version(version: Version, weights: Path, registry: Registry) -> Version:
    """Add a version from its weights, with the files that serving needs beside them.

    A training leaves them beside the weights; for other files they are made here.

    Raises:
        ExportFailed: They cannot be made.
        UnknownKind: The learner of the weights is not installed here.
    """
    if registry.has(version.name):
        return registry.get(version.name)
    learner = find_learner(read_card(weights).kind)
    beside = [weights.parent / name for name in learner.serving_files]
    if all(path.exists() for path in beside):
        return registry.add(version, [weights, *beside], weights.parent)
    with tempfile.TemporaryDirectory() as folder:
        learner.make_servable(weights, Path(folder))
        copy = Path(folder) / FILE_NAME
        shutil.copyfile(weights, copy)
        return registry.add(
            version,
            [copy, *(Path(folder) / name for name in learner.serving_files)],
            Path(folder),
        )


def find_int8(version: str, registry: Registry) -> Path:
    """Find the folder of a version's INT8 form, which loads as a version's folder does.

    Raises:
        NoInt8: There is none, or it was not accepted.
    """
    folder = registry.get_folder(version) / INT8
    report = read_json(folder / INT8_REPORT)
    if report is None:
        raise NoInt8(
            f"{version} has no INT8 form yet; make one from tiles of yours: "
            f"cytoloop quantize FOLDER --model {version}"
        )
    if not report["accepted"]:
        raise NoInt8(
            f"the INT8 form of {version} was not accepted ({'; '.join(report['why'])}): "
            "go on with --full-precision, or fit it to other tiles with cytoloop quantize"
        )
    return folder


def find_form(version: str, registry: Registry, int8: bool | None) -> Path:
    """Find the folder of the form of a version that detects.

    Args:
        version: Its name.
        registry: Of the data folder.
        int8: Whether it has to be the INT8 form; where None, it is wherever one was accepted.

    Raises:
        NoInt8: That form is asked for, and there is none, or it was not accepted.
    """
    if int8 is None:
        with suppress(NoInt8):
            return find_int8(version, registry)
    return find_int8(version, registry) if int8 else registry.get_folder(version)


def is_int8(folder: Path) -> bool:
    """Tell whether a folder of `find_form` holds an INT8 form."""
    return (folder / INT8_REPORT).exists()


def store_int8(version: Path, made: Path, report: dict[str, Any]) -> None:
    """Put an INT8 form into the folder of its version, in one move.

    Of a form that was not accepted only the report is kept.

    Args:
        version: The version's folder.
        made: The folder with the IR.
        report: What came out when the form was compared with the version.
    """
    folder = version / INT8
    building, before = (version / f".{INT8}.{secrets.token_hex(4)}" for _ in range(2))
    building.mkdir()
    try:
        if report["accepted"]:
            for source in (version / FILE_NAME, *(made / name for name in IR_FILES)):
                shutil.copyfile(source, building / source.name)
        write_json(building / INT8_REPORT, report)
        if folder.exists():
            folder.replace(before)
        building.replace(folder)
    finally:
        for leftover in (building, before):
            shutil.rmtree(leftover, ignore_errors=True)
