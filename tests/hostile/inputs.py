"""The table of hostile inputs, by kind.

A kind is a file in `kinds/`, whose list yields what builds each input, how the product reads it,
and what is then said. A new input is a line there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.hostile.hostile import Hostile
from tests.hostile.kinds.addresses import list_addresses
from tests.hostile.kinds.annotations import list_annotations
from tests.hostile.kinds.answers import list_answers
from tests.hostile.kinds.archives import list_archives
from tests.hostile.kinds.images import list_images
from tests.hostile.kinds.markup import list_markup
from tests.hostile.kinds.models import list_models
from tests.hostile.kinds.names import list_names
from tests.hostile.kinds.no_files import list_no_files
from tests.hostile.kinds.numbers import list_numbers
from tests.hostile.kinds.paths import list_paths
from tests.hostile.kinds.requests import list_requests
from tests.hostile.kinds.scans import list_scans
from tests.hostile.kinds.tiffs import list_tiffs

KINDS: dict[str, Callable[[], Iterator[Hostile]]] = {
    "images of every format": list_images,
    "TIFFs as scans": list_tiffs,
    "OME-Zarr, CZI, LIF and ND2": list_scans,
    "pipes, links and devices": list_no_files,
    "paths that lead out": list_paths,
    "addresses of images": list_addresses,
    "answers of image servers": list_answers,
    "requests, headers and JSON to the backend": list_requests,
    "XML and YAML": list_markup,
    "files of labels (JSON, tables)": list_annotations,
    "numbers": list_numbers,
    "names": list_names,
    "archives": list_archives,
    "files of models": list_models,
}
