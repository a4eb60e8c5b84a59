"""Files of models from elsewhere: lying headers, cards that mean nothing, and pickles."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_backend.learners.model_file import ModelCard, read_card
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from tests.hostile.hostile import Hostile, write

CARD = json.loads(ModelCard("yolov5n", ("a",), ("a",), 1.0, 0.5).to_metadata()["cytoloop"])


def make_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """Make a safetensors file by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def resolve(path: Path) -> str:
    """Name a file as a model, as the command line does."""
    registry = Registry(path.parent / "versions", path.parent / "champions")
    return resolve_model(str(path), registry).name


def list_models() -> Iterator[Hostile]:
    """List files of models that are refused."""
    refused = "is not a cytoloop model file"
    headers: dict[str, bytes] = {
        "nothing": b"",
        "seven bytes": bytes(7),
        "a header of no bytes": make_file(b""),
        "a header of 2^64": make_file({}, length=2**64 - 1),
        "a header of 1 TB": make_file({}, length=10**12),
        "a header of 200 MB that is not there": make_file({}, length=200_000_000),
        "a header of a list": make_file([]),
        "a header of text": make_file(b"hello"),
        "a header of bytes": make_file(b"\xff\xfe{}"),
        "a header that is deep": make_file(b'{"a":' + b"[" * 50_000),
        "a header without a card": make_file({}),
        "a card of a number": make_file({"__metadata__": {"cytoloop": 3}}),
        "a card of a list": make_file({"__metadata__": []}),
        "a tensor outside": make_file({"a": tensor([1], [0, 10**12])}),
        "a tensor below zero": make_file({"a": tensor([1], [-4, 0])}),
        "a tensor that ends first": make_file({"a": tensor([1], [4, 0])}, bytes(4)),
        "a tensor of another size": make_file({"a": tensor([9], [0, 4])}, bytes(4)),
        "a tensor of 2^63": make_file({"a": tensor([2**62, 4], [0, 4])}, bytes(4)),
        "a tensor of no type": make_file({"a": tensor([1], [0, 4], "EVIL")}, bytes(4)),
        "two tensors in one place": make_file(
            {"a": tensor([1], [0, 4]), "b": tensor([1], [0, 4])}, bytes(4)
        ),
        "a hole between tensors": make_file(
            {"a": tensor([1], [0, 4]), "b": tensor([1], [8, 12])}, bytes(12)
        ),
        "bytes behind": make_file({"a": tensor([1], [0, 4])}, bytes(40)),
        "a pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
        "a pickle in a zip": b"PK\x03\x04" + bytes(26) + b"archive/data.pkl\x80\x02cos\nsystem\n",
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "onnx": b"\x08\x08\x12\x07pytorch" + bytes(100),
        "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "zeros": bytes(10_000),
        "ones": b"\xff" * 10_000,
    }
    for what, content in headers.items():
        build = write("a.safetensors", content)
        yield Hostile(f"file: {what}", build, resolve, refused)
    for what, text in {
        "no JSON": "x",
        "nothing": "",
        "null": "null",
        "a list": "[]",
        "a number": "1e999",
        "depth": "[" * 50_000,
        "an empty object": "{}",
    }.items():
        content = make_file({"__metadata__": {"cytoloop": text}})
        yield Hostile(f"card: {what}", write("a.safetensors", content), resolve, refused)
    fields: dict[str, tuple[Any, ...]] = {
        "architecture": (
            *("../shared/model", "/etc/passwd", "a/b", "a.yaml", "", "x" * 61, "YOLO", "a\n"),
            *("https://evil/x", None, 3, [], {}, "__import__('os')", "yolov5n.yaml", "\0"),
        ),
        "classes": (None, 3, [3], [None], [["a"]], True),
        "headline": (None, 3, [3], [None], [["a"]], True),
        "scale": (0, -1, 1e9, float("nan"), float("inf"), 10**400, "1", None, [], True),
        "threshold": (-0.1, 1.1, float("nan"), 10**400, "0.5", None, {}),
        "nms_iou": (-0.1, 1.1, float("nan"), "0.5", None),
        "input_um": (0, -1, 1e9, float("inf"), "0.25", []),
        "calibration": (3, [], "x", {}, {"slope": 0, "offset": 0}, {"slope": 1, "offset": None}),
        "unknown": (1,),
    }
    for name, values in fields.items():
        for value in values:
            content = make_file({"__metadata__": {"cytoloop": json.dumps(CARD | {name: value})}})
            shown = str(value)[:20]
            build = write("a.safetensors", content)
            yield Hostile(f"card of {name} {shown!r}", build, read_card, refused)
    for kind in (
        "evil",
        "../detector",
        "",
        "os.system",
        "DETECTOR",
        "ml_backend.learners.detector",
    ):
        content = make_file({"__metadata__": {"cytoloop": json.dumps(CARD | {"kind": kind})}})
        build = write("a.safetensors", content)
        yield Hostile(f"card of kind {kind!r}", build, resolve, "learner|kind|model file")
    for ending in ("pt", "pth", "pkl", "onnx", "h5", "ckpt", "bin", "yaml", "py", "torchscript"):
        build = write(f"a.{ending}", b"\x80\x04cos\nsystem\n(S'id'\ntR.")
        yield Hostile(f"a model of .{ending}", build, resolve, "there is no version")


def tensor(shape: list[int], offsets: list[int], kind: str = "F32") -> dict[str, Any]:
    """Describe a tensor."""
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}
