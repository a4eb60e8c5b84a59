"""The strategies by name. A line here is all that registers one."""

from __future__ import annotations

from ml_backend.active_learning.strategies.base import KEPT, Strategy
from ml_backend.active_learning.strategies.certainty import score_certainty
from ml_backend.active_learning.strategies.clasp import score_clasp
from ml_backend.active_learning.strategies.committee import score_committee
from ml_backend.active_learning.strategies.exemplar import score_exemplar
from ml_backend.active_learning.strategies.foreground_random import score_foreground
from ml_backend.active_learning.strategies.ppal import score_ppal
from ml_backend.active_learning.strategies.random_order import score_randomly
from ml_backend.active_learning.strategies.stratified_random import score_stratified

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy("foreground", score_foreground, needs=frozenset({"foreground_share"})),
        Strategy("certainty", score_certainty),
        Strategy("random", score_randomly),
        Strategy("stratified", score_stratified, whole=True),
        Strategy("clasp", score_clasp, whole=True),
        Strategy("ppal", score_ppal, whole=True, needs=frozenset({"features", "difficulty"})),
        Strategy(
            "exemplar", score_exemplar, whole=True, needs=frozenset({"features", "exemplars"})
        ),
        Strategy("committee", score_committee, needs=frozenset({"committee"})),
    )
}


class UnknownStrategy(ValueError):
    """No strategy has that name."""


def find_strategy(name: str) -> Strategy:
    """Find a strategy that can order a queue, by its name.

    Raises:
        UnknownStrategy: No strategy has that name, or the server does not keep what it needs; the
            message lists those that there are.
    """
    strategy = STRATEGIES.get(name)
    if strategy is None or not strategy.needs <= KEPT:
        served = ", ".join(name for name, known in STRATEGIES.items() if known.needs <= KEPT)
        why = (
            f"no strategy is called {name!r}"
            if strategy is None
            else f"the strategy {name} can only be tried with cytoloop simulate"
        )
        raise UnknownStrategy(f"{why}; CYTOLOOP_STRATEGY and --strategy take {served}")
    return strategy


def find_any_strategy(name: str) -> Strategy:
    """Find a strategy, also one that can only be simulated.

    Raises:
        UnknownStrategy: No strategy has that name; the message lists all.
    """
    if name not in STRATEGIES:
        raise UnknownStrategy(f"no strategy is called {name!r}; there are {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
