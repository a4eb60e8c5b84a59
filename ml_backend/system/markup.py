"""XML and YAML from outside, bounded before it is believed.

Entities (XML) and aliases (YAML) let a kilobyte stand for gigabytes; elements within elements
without end exhaust the stack. None of the files that we read needs either.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]

# Characters. OME-XML of a slide with 100,000 planes has some 30 MB; a labeling config some kB.
MOST_XML = 100_000_000
MOST_YAML = 10_000_000  # the names of 100,000 classes
DEEPEST = 100
MOST_ELEMENTS = 1_000_000


class _Bounded(ElementTree.TreeBuilder):
    """Builds a tree, and stops at what is no honest file."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self._left = elements
        self._depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self._left -= 1
        self._depth += 1
        if self._left < 0:
            raise ValueError("it has too many elements")
        if self._depth > DEEPEST:
            raise ValueError(f"its elements lie more than {DEEPEST} deep in each other")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which may hold entities")


def parse_xml(
    text: str | bytes, most: int = MOST_XML, elements: int = MOST_ELEMENTS
) -> ElementTree.Element:
    """Parse XML.

    Args:
        text: The document.
        most: Characters of it, at most.
        elements: At most.

    Raises:
        ValueError: It is not XML, or beyond the bounds; in one line.
    """
    if len(text) > most:
        raise ValueError(f"it has {len(text)} characters; {most} can be read")
    parser = ElementTree.XMLParser(target=_Bounded(elements))  # noqa: S314 (no entities)
    try:
        parser.feed(text)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, UnicodeError, LookupError) as error:
        raise ValueError(f"it is not valid XML: {error}") from error
    return root


class _Loader(yaml.SafeLoader):
    """Knows no aliases: with them a kilobyte stands for gigabytes (billion laughs)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it repeats parts by aliases (*name); write them out")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """Parse YAML.

    Raises:
        ValueError: It is not YAML, too long or too deep, or uses aliases.
    """
    if len(text) > MOST_YAML:
        raise ValueError(f"it has {len(text)} characters; {MOST_YAML} can be read")
    try:
        # A safe loader: it builds plain values only.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # dates and numbers too
        raise ValueError(f"it is not valid YAML: {error}") from error
