"""The store of draws: what it keeps is what was put in, in order, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from ml_backend.counting.sample import Claim, DrawnTile, SampleStore
from ml_backend.system.database import Address


def make_tile(task: int, left: int = 10) -> DrawnTile:
    return DrawnTile(task, 0.25, left, 1.5, 0.5, 4.0, "v1")


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    in_file = request.param == "sqlite"
    file = tmp_path / "data" / "samples.sqlite"
    return file if in_file else request.getfixturevalue("postgres_address")


@pytest.fixture
def store(address: Address) -> SampleStore:
    return SampleStore(address)


def test_draws_follow_those_that_stay(store: SampleStore, address: Address) -> None:
    store.replace_draws(1, 0, [make_tile(n) for n in (5, 7, 6)])
    store.replace_draws(2, 0, [make_tile(5)])
    store.replace_draws(1, 1, [make_tile(n) for n in (8, 7)])
    again = SampleStore(address)
    assert again.list_draws(1) == [make_tile(n) for n in (5, 8, 7)]
    assert again.list_draws(2) == [make_tile(5)]
    assert again.list_draws(3) == []


def test_a_tile_that_is_drawn_twice_changes_nothing(store: SampleStore) -> None:
    store.replace_draws(1, 0, [make_tile(n) for n in (5, 7, 6)])
    with pytest.raises(IntegrityError):
        store.replace_draws(1, 1, [make_tile(5)])
    assert store.list_draws(1) == [make_tile(n) for n in (5, 7, 6)]


def test_the_newest_claim_counts(store: SampleStore) -> None:
    store.keep_claims(1, "v1", {5: 0.5, 6: 2.0})
    store.keep_claims(1, "v2", {6: 1.0, 7: 0.0})
    store.remove_claims(1, [7])
    assert store.read_claims(1) == {5: Claim("v1", 0.5), 6: Claim("v2", 1.0)}
