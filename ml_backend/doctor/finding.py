"""What a check finds: how grave it is, what was seen, and the mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

# ok: as it should be. note: worth knowing. warning: it works, but something is left out or will
# end. error: it does not work.
Severity = Literal["ok", "note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("ok", "note", "warning", "error")

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        severity: How grave it is.
        seen: What was seen, in a sentence.
        mend: What to do, with the exact command; "" where nothing has to be done.
    """

    severity: Severity
    seen: str
    mend: str = ""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A check.

    Attributes:
        name: A word or two, for the table and for scripts.
        look: Looks at a subject, and yields what it finds; nothing where there is nothing to
            look at.
    """

    name: str
    look: Callable[[Subject], Iterator[Finding]]


@dataclass(frozen=True)
class Result:
    """A finding with where it comes from.

    Attributes:
        check: The check's name.
        project: The project that it is about; None where it is about all.
        finding: What was found.
    """

    check: str
    project: int | None
    finding: Finding

    def to_json(self) -> dict[str, Any]:
        """Give the values of `cytoloop doctor --json`."""
        return {"check": self.check, "project": self.project, **asdict(self.finding)}
