"""Backups from elsewhere: members that lead out, links, devices, lies, and no archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_backend.state.backup import restore_backup
from tests.hostile.hostile import Hostile, write

GOOD = {"release": "0.2.0", "created": 0.0, "files": {}}


def make_tar(
    members: list[tuple[Mapping[str, Any], bytes]],
    manifest: Any = GOOD,
    form: int = tarfile.PAX_FORMAT,
) -> bytes:
    """Make a tar of members, each by the fields of its entry, and a manifest."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for fields, content in members:
            entry = tarfile.TarInfo()
            entry.size = len(content)
            for name, value in fields.items():
                setattr(entry, name, value)
            archive.addfile(entry, io.BytesIO(content))
        if manifest is not None:
            text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
            entry = tarfile.TarInfo("backup.json")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return file.getvalue()


def restore(file: Path) -> str:
    """Restore a backup beside it, and tell whether anything lies where nothing may."""
    folder = file.parent / "inside" / "new"
    folder.parent.mkdir()
    try:
        restore_backup(file, folder)
    finally:
        kept = {file, folder.parent, *folder.rglob("*"), folder}
        if strays := set(file.parent.rglob("*")) - kept:
            raise RuntimeError(f"left behind: {strays}")
        if any(path.is_symlink() for path in folder.rglob("*")):
            raise RuntimeError("a link was made")
    return f"restored {sorted(path.name for path in folder.rglob('*'))}"


def list_archives() -> Iterator[Hostile]:
    """List backups that are refused."""
    link, hard = {"type": tarfile.SYMTYPE}, {"type": tarfile.LNKTYPE}
    device = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}
    members: dict[str, list[tuple[Mapping[str, Any], bytes]]] = {
        "a way out": [({"name": "../evil"}, b"x")],
        "a long way out": [({"name": "a/b/../../../evil"}, b"x")],
        "many ways out": [({"name": "../" * 50 + "tmp/evil"}, b"x")],
        "a link that leads out": [({"name": "a", "linkname": "../..", **link}, b"")],
        "a link to the system": [({"name": "a", "linkname": "/etc/passwd", **link}, b"")],
        "a file through a link": [
            ({"name": "a", "linkname": "/tmp", **link}, b""),
            ({"name": "a/evil"}, b"x"),
        ],
        "a link through a link": [
            ({"name": "a", "linkname": ".", **link}, b""),
            ({"name": "b", "linkname": "a/../..", **link}, b""),
            ({"name": "b/evil"}, b"x"),
        ],
        "a hard link out": [({"name": "a", "linkname": "../../evil", **hard}, b"")],
        "a hard link to the system": [({"name": "a", "linkname": "/etc/passwd", **hard}, b"")],
        "a hard link to nothing": [({"name": "a", "linkname": "b", **hard}, b"")],
        "a device": [({"name": "a", **device}, b"")],
        "a block device": [({"name": "a", "type": tarfile.BLKTYPE}, b"")],
        "a pipe": [({"name": "a", "type": tarfile.FIFOTYPE}, b"")],
        "a name of 5,000": [({"name": "x" * 5000}, b"x")],
        "a name with a nul": [({"name": "a\0b"}, b"x")],
        "a folder and a file of one name": [
            ({"name": "a"}, b"x"),
            ({"name": "a/b"}, b"x"),
        ],
        "its own folder": [({"name": "."}, b"x")],
        "its parent": [({"name": "..", "type": tarfile.DIRTYPE}, b"")],
        "a depth of 3,000": [({"name": "a/" * 3000 + "b"}, b"x")],
    }
    refused = r"no whole backup|is damaged"
    for what, listed in members.items():
        content = make_tar(listed, None)
        yield Hostile(f"tar with {what}", write("a.tar", content), restore, refused)
    for what, listed in members.items():
        # Nothing outside may come of it where the manifest is sound either.
        content = make_tar(listed, GOOD)
        build = write("a.tar", content)
        yield Hostile(f"backup with {what}", build, restore, f"{refused}|^restored")
    for name in ("/etc/evil", "//evil", "C:\\evil", "..\\evil"):
        build = write("a.tar", make_tar([({"name": name}, b"x")], GOOD))
        yield Hostile(f"backup with {name}", build, restore, f"{refused}|^restored")
    yield from _list_manifests(refused)
    yield from _list_no_archives(refused)


def _list_manifests(refused: str) -> Iterator[Hostile]:
    """Manifests that are none, or not of what is there."""
    right = hashlib.sha256(b"x").hexdigest()
    manifests: dict[str, Any] = {
        "no text": b"\xff\xfe",
        "nothing": b"",
        "null": b"null",
        "a list": [],
        "a number": 3,
        "a word": "x",
        "cut off": b'{"release": "0.2',
        "deep": b"[" * 100_000,
        "no files": {"release": "1", "created": 0},
        "no release": {"created": 0, "files": {}},
        "no time": {"release": "1", "files": {}},
        "files of text": {**GOOD, "files": "all"},
        "files of numbers": {**GOOD, "files": [1, 2]},
        "a time of text": {**GOOD, "created": "today"},
        "a time of lists": {**GOOD, "created": []},
        "a time of 400 digits": {**GOOD, "created": 10**400},
        "a wrong hash": {**GOOD, "files": {"a": "0" * 64}},
        "no hash": {**GOOD, "files": {"a": None}},
        "a number for a hash": {**GOOD, "files": {"a": 5}},
        "a file that is not there": {**GOOD, "files": {"a": right, "b": right}},
        "a file outside": {**GOOD, "files": {"a": right, "../../a.tar": right}},
        "a file of the system": {**GOOD, "files": {"/etc/hostname": right}},
        "a name with a nul": {**GOOD, "files": {"a\0b": right}},
        "a folder for a file": {**GOOD, "files": {".": right}},
    }
    for what, manifest in manifests.items():
        content = make_tar([({"name": "a"}, b"x")], manifest)
        yield Hostile(f"manifest: {what}", write("a.tar", content), restore, refused)


def _list_no_archives(refused: str) -> Iterator[Hostile]:
    """What is called a backup and is none, or is cut off."""
    whole = make_tar([({"name": "a"}, bytes(5000))], GOOD)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../evil", "x")
    huge = bytearray(make_tar([({"name": "a"}, b"x")], None))
    huge[124:136] = b"\x80" + b"\xff" * 11
    octal = bytearray(huge)
    octal[124:136] = b"77777777777\0"
    checksum = bytearray(whole)
    checksum[148:156] = b"0000000\0"
    contents = {
        "nothing": b"",
        "text": b"this is no backup",
        "zeros": bytes(10_240),
        "ones": b"\xff" * 10_240,
        "zip": packed.getvalue(),
        "gzip": gzip.compress(whole),
        "gzip of zeros": gzip.compress(bytes(50_000_000)),
        "xz": b"\xfd7zXZ\0" + bytes(60),
        "bzip2": b"BZh9" + bytes(60),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(60),
        "a file of 2^88 bytes": bytes(huge),
        "a file of 8 GB": bytes(octal),
        "a wrong checksum": bytes(checksum),
        "a header alone": whole[:512],
        "half a header": whole[:200],
        "half a file": whole[:3000],
        "no manifest": make_tar([({"name": "a"}, b"x")], None),
        "a manifest alone, cut": make_tar([], GOOD)[:530],
        "an old form": make_tar([({"name": "x" * 99}, b"x")], None, tarfile.USTAR_FORMAT),
        "gnu names without end": b"././@LongLink".ljust(512, b"\0") * 4,
        "sqlite": b"SQLite format 3\0" + bytes(1000),
    }
    for what, content in contents.items():
        yield Hostile(f"no backup: {what}", write("a.tar", content), restore, refused)
