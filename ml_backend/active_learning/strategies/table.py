"""The strategies by name. A line here is all that registers one."""

from __future__ import annotations

from ml_backend.active_learning.strategies.base import Strategy
from ml_backend.active_learning.strategies.certainty import score_certainty
from ml_backend.active_learning.strategies.random_order import score_randomly

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy("certainty", score_certainty),
        Strategy("random", score_randomly),
    )
}


class UnknownStrategy(ValueError):
    """No strategy has that name."""


def find_strategy(name: str) -> Strategy:
    """Find a strategy by its name.

    Raises:
        UnknownStrategy: No strategy has that name; the message lists those that there are.
    """
    try:
        return STRATEGIES[name]
    except KeyError:
        raise UnknownStrategy(
            f"no strategy is called {name!r}; CYTOLOOP_STRATEGY and --strategy take "
            f"{', '.join(STRATEGIES)}"
        ) from None
