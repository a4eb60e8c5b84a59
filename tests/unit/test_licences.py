"""Every library that the product needs may be joined with AGPL-3.0-or-later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

# Licences that allow to be part of a work under AGPL-3.0: by the FSF's list
# (gnu.org/licenses/license-list). Apache-2.0, BSD, MIT, ISC, PSF, Zlib and the like are
# permissive; MPL-2.0 names the AGPL as a secondary licence; (L)GPL-3 joins by section 13 of both.
FITTING = re.compile(
    r"MIT|BSD|Apache|ISC|Python|PSF|Zlib|MPL|Mozilla|GPL|Unlicense|CC0|0BSD|BSL-1|HPND|FreeBSD|TCL",
    re.IGNORECASE,
)
UNFIT = re.compile(
    r"GPL-?v?2(\.0)?-only|GPL-?v?1|Proprietary|BUSL|SSPL|Commons-Clause", re.IGNORECASE
)
# Not joined with the product: libraries of the GPU, which PyTorch loads where there is one, as
# parts of the system it runs on (section 1 of the AGPL, System Libraries).
GPU = re.compile(r"^(nvidia-|cuda-)")
# What their metadata leave out, read from the licence file of each.
READ = {"label-studio-sdk": "Apache-2.0", "huey": "MIT", "skops": "MIT"}


def list_needed(name: str, extras: tuple[str, ...] = ()) -> Iterator[Distribution]:
    """Walk what a distribution needs on this system, with some of its extras, each once."""
    seen: set[str] = set()
    waiting = [(name, frozenset(extras))]
    while waiting:
        wanted, chosen = waiting.pop()
        key = wanted.lower().replace("_", "-")
        try:
            found = distribution(wanted)
        except PackageNotFoundError:
            continue  # an extra that is not installed here
        if key not in seen:
            seen.add(key)
            yield found
        elif not chosen:
            continue
        for line in found.requires or []:
            requirement = Requirement(line)
            marks = [{"extra": extra} for extra in ("", *chosen)]
            if requirement.marker is None or any(map(requirement.marker.evaluate, marks)):
                inside = frozenset(requirement.extras)
                if requirement.name.lower().replace("_", "-") not in seen or inside - chosen:
                    waiting.append((requirement.name, inside))


def read_licence(found: Distribution) -> str:
    """Read what a distribution says of its licence, "" where it says nothing."""
    metadata = found.metadata
    classifiers = [
        line.split("::")[-1].strip()
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License")
    ]
    expression = metadata.get("License-Expression")
    told = expression or "; ".join(classifiers) or (metadata.get("License") or "").strip()[:80]
    return READ.get(metadata["Name"].lower(), told)


def test_every_library_may_be_joined_with_the_product() -> None:
    needed = [*list_needed("cytoloop")]
    names = {found.metadata["Name"].lower() for found in needed}
    assert len(needed) > 60 and {"torch", "ultralytics", "flask", "label-studio-sdk"} <= names
    wrong = {
        found.metadata["Name"]: read_licence(found)
        for found in needed
        if not GPU.match(found.metadata["Name"].lower())
        and (not FITTING.search(read_licence(found)) or UNFIT.search(read_licence(found)))
    }
    assert not wrong, f"look at these licences, and write down what they are: {wrong}"


def test_a_licence_that_does_not_fit_is_seen() -> None:
    for licence in ("GPL-2.0-only", "LicenseRef-NVIDIA-Proprietary", "BUSL-1.1 or MIT"):
        assert UNFIT.search(licence)
    assert not FITTING.search("All rights reserved") and not UNFIT.search("GPL-2.0-or-later")
