"""XML and YAML: entities, depth, size and nonsense, for every reader of such."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import encode_png
from ml_backend.imaging.pixel_size import parse_ome_pixel_size
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.markup import parse_xml, parse_yaml
from tests.hostile.hostile import Hostile, give, tabulate, write


def nest(first: str, count: int, letters: str = "abcdefgh") -> str:
    """Entities of which each is `count` of the one before."""
    return f"<!ENTITY {letters[0]} '{first}'>" + "".join(
        f"<!ENTITY {b} '{f'&{a};' * count}'>" for a, b in zip(letters, letters[1:], strict=False)
    )


DOCUMENTS = {
    "laughs": (f"<!DOCTYPE a [{nest('ha', 10)}]><a>&h;</a>", "document type"),
    "quadratic": (f"<!DOCTYPE a [<!ENTITY a '{'x' * 99_000}'>]><a>{'&a;' * 99}</a>", "document"),
    "file": ("<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><a>&f;</a>", "document type"),
    "address": ("<!DOCTYPE a [<!ENTITY f SYSTEM 'http://127.0.0.1/'>]><a>&f;</a>", "document"),
    "parameter": ("<!DOCTYPE a [<!ENTITY % p SYSTEM 'file:///x'> %p;]><a/>", "document type"),
    "public": ("<!DOCTYPE a PUBLIC '-//x//y' 'http://127.0.0.1/x.dtd'><a/>", "document type"),
    "type alone": ("<!DOCTYPE a><a/>", "document type"),
    "notation": ("<!DOCTYPE a [<!NOTATION n SYSTEM 'x'>]><a/>", "document type"),
    "attributes by a type": ("<!DOCTYPE a [<!ATTLIST a b CDATA 'c'>]><a/>", "document type"),
    "an unknown entity": ("<a>&b;</a>", "not valid XML"),
    "entity in itself": ("<!DOCTYPE a [<!ENTITY a '&a;'>]><a>&a;</a>", "document type"),
    "deep": ("<a>" * 20_000, "deep"),
    "deep and closed": ("<a>" * 101 + "</a>" * 101, "deep"),
    "broken": ("<a", "not valid XML"),
    "nothing": ("", "not valid XML"),
    "text": ("not XML at all", "not valid XML"),
    "two roots": ("<a/><b/>", "not valid XML"),
    "a tag that closes another": ("<a><b></a></b>", "not valid XML"),
    "twice one attribute": ("<a b='1' b='2'/>", "not valid XML"),
    "an attribute without quotes": ("<a b=1/>", "not valid XML"),
    "a nul": ("<a>\0</a>", "not valid XML"),
    "a control character": ("<a>\x01</a>", "not valid XML"),
    "a number that is no character": ("<a>&#xFFFF;</a>", "not valid XML"),
    "a number of 400 digits": (f"<a>&#{'9' * 400};</a>", "not valid XML"),
    "half a letter": ("<a>\ud800</a>", "not valid XML"),
    "an unknown prefix": ("<x:a/>", "not valid XML"),
    "a comment that is open": ("<a><!-- ", "not valid XML"),
    "an open section": ("<a><![CDATA[", "not valid XML"),
    "an instruction that is open": ("<?php ", "not valid XML"),
    "html": ("<html><br></html>", "not valid XML"),
}

ALIASES = "a: &a [x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
YAMLS = {
    "laughs": (ALIASES, "aliases"),
    "itself": ("&a [*a]", "aliases"),
    "a merge": ("a: &a {b: 1}\nc: {<<: *a}", "aliases"),
    "an unknown alias": ("*b", "aliases|not valid YAML"),
    "deep": ("[" * 20_000, "not valid YAML"),
    "deep maps": ("{a: " * 20_000, "not valid YAML"),
    "deep by indent": ("".join(" " * n + "a:\n" for n in range(2_000)), "not valid YAML"),
    "object": ("!!python/object/apply:os.system [id]", "not valid YAML"),
    "new object": ("!!python/object/new:subprocess.Popen [[id]]", "not valid YAML"),
    "a name": ("!!python/name:os.system", "not valid YAML"),
    "a module": ("!!python/module:os", "not valid YAML"),
    "a tuple": ("!!python/tuple [1, 2]", "not valid YAML"),
    "a tag of ruby": ("!ruby/object:Gem::Installer {}", "not valid YAML"),
    "a tag of its own": ("!evil x", "not valid YAML"),
    "binary that is none": ("!!binary 'a'", "not valid YAML"),
    "a date that is none": ("2026-99-99", "not valid YAML"),
    "a number that is none": ("!!int x", "not valid YAML"),
    "a number of bases": ("!!int 0x", "not valid YAML"),
    "broken": ("a: [", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2", "not valid YAML"),
    "a tab": ("a:\n\tb: 1", "not valid YAML"),
    "a nul": ("a: \0", "not valid YAML"),
    "a list as a key": ("? [a]\n: b", "not valid YAML"),
    "a map as a key": ("{{a: b}: c}", "not valid YAML"),
    "an escape that is none": ('"\\q"', "not valid YAML"),
    "quotes that are open": ('"a', "not valid YAML"),
    "a directive that is none": ("%YAML 9.9\n---\na", "not valid YAML"),
    "long": ("x" * 10_000_001, "can be read"),
}


def label_beside(folder: Path) -> str:
    """Read a labelled folder in which a good image lies beside what is hostile."""
    (folder / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    found = read_folder(folder)
    return f"{[example.image.name for example in found.examples]} {found.skipped}"


def label(name: str, text: str) -> Callable[[Path], Path]:
    """Make what writes a file of labels, with half letters in it where the text has some."""
    content = text.encode("utf-8", "surrogatepass")
    return lambda folder: write(name, content)(folder).parent


def draw_controls(text: str) -> object:
    """Read a labeling config; nothing of it is drawn where it has no boxes for an image."""
    return LabelingConfig.parse(text).controls or "nothing to draw"


def list_markup() -> Iterator[Hostile]:
    """List documents, for each of their readers."""
    for name, (text, refusal) in DOCUMENTS.items():
        yield Hostile(f"xml {name}", give(text), parse_xml, refusal)
        yield Hostile(f"config {name}", give(text), LabelingConfig.parse, "cannot be used")
        yield Hostile(f"ome {name}", give(text), parse_ome_pixel_size, "^None$")
        refusal = r"good.png.*not a Pascal VOC file"
        yield Hostile(f"voc {name}", label("good.xml", text), label_beside, refusal)
    many = "<a>" + "<b/>" * 1_010_000 + "</a>"
    yield Hostile("xml of a million elements", give(many), parse_xml, "too many")
    encodings = {
        "an unknown encoding": b"<?xml version='1.0' encoding='klingon'?><a/>",
        "utf-7": b"<?xml version='1.0' encoding='utf-7'?>+ADw-a/+AD4-",
        "halves of utf-16": b"\xff\xfe<\0a\0/",
        "bytes of no encoding": b"<a>\xff\xfe</a>",
    }
    yield from tabulate(encodings, parse_xml, "not valid XML|not supported", "xml in")
    for name, (text, refusal) in YAMLS.items():
        yield Hostile(f"yaml {name}", give(text), parse_yaml, refusal)
        refusal = r"good.png.*not a YOLO data file"
        yield Hostile(f"data.yaml {name}", label("data.yaml", text), label_beside, refusal)
    for text in ("null", "[]", "3", "text", "names: 3", "names: null", "nc: 10000000000"):
        refusal = r"good.png.*not a YOLO data file"
        build = label("data.yaml", text)
        yield Hostile(f"data.yaml {text}", build, label_beside, refusal)
    yield from _list_configs()


def _list_configs() -> Iterator[Hostile]:
    """Labeling configs that are XML and cannot be used."""
    squares = "".join(f'<Label value="l{n}"/>' for n in range(1000))
    controls = "".join(
        f'<RectangleLabels name="r{n}" toName="i">{squares}</RectangleLabels>' for n in range(4)
    )
    pairs = "".join(f'<Rectangle name="q{n}" toName="i"/>' for n in range(1000))
    long = f'<Labels name="m" toName="i"><Label value="{"x" * 5000}"/></Labels>'
    inside = {
        "1,000 labels four times": controls,
        "1,000 x 1,000": f'{pairs}<Labels name="m" toName="i">{squares}</Labels>',
        "a long label": f'{long}<Rectangle name="q" toName="i"/>',
        "many tags": "<View/>" * 10_000,
        "many characters": " " * 1_000_001,
    }
    configs = {
        what: f'<View><Image name="i" value="$image"/>{content}</View>'
        for what, content in inside.items()
    }
    image, choice = '<Image name="i" value="$image"/>', '<Label value="a"/>'
    yield from tabulate(configs, LabelingConfig.parse, "cannot be used", "config of")
    without = {
        "nothing": "<View/>",
        "an image alone": f"<View>{image}</View>",
        "labels of no image": f'<View><RectangleLabels name="l" toName="i">{choice}'
        "</RectangleLabels></View>",
        "labels of another image": f'<View>{image}<RectangleLabels name="l" toName="j">{choice}'
        "</RectangleLabels></View>",
        "an image without a value": '<View><Image name="i"/><RectangleLabels name="l" toName="i">'
        f"{choice}</RectangleLabels></View>",
        "text alone": '<View><Text name="t" value="$text"/></View>',
    }
    yield from tabulate(without, draw_controls, "nothing to draw", "config of")
