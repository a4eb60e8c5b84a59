"""The memory of all images that are decoded at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from ml_backend.imaging.decode_budget import DecodeBudget


def test_no_more_is_taken_than_there_is() -> None:
    budget = DecodeBudget(100)
    assert budget.take(60) and budget.take(40)
    assert not budget.take(1) and not budget.take(1, 0.01)
    budget.give_back(40)
    assert budget.take(40) and budget.taken == 100


def test_who_waits_gets_what_another_gives_back() -> None:
    budget, most, lock = DecodeBudget(100), [0], threading.Lock()

    def work(size: int) -> None:
        assert budget.take(size, None)
        with lock:
            most[0] = max(most[0], budget.taken)
        budget.give_back(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [1, 100, 40, 60, 99, 7] * 50))
    assert budget.taken == 0 and 0 < most[0] <= 100
