"""Only detectors have an INT8 form."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.learners.int8 import NotQuantized, load_form


def test_other_kinds_are_refused_by_name(discs_and_crosses: Path) -> None:
    with pytest.raises(NotQuantized, match="this version is a region_classifier"):
        load_form(discs_and_crosses, discs_and_crosses)
