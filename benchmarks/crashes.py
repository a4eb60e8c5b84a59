"""Is anything lost when the processes are killed? Hundreds of `kill -9`, at every kind of write.

    uv run python benchmarks/crashes.py --kills 300
    uv run python benchmarks/crashes.py --kills 100 --postgres
    uv run python benchmarks/crashes.py --kills 50 --postgres --s3
    uv run python benchmarks/crashes.py --kills 1000 --record kills.json --minutes 8   # in pieces

Rounds of the whole loop: pre-annotations, corrections, a training, a promotion, new pre-
annotations, corrections meanwhile and a second training. The worker, the server and the training
are the product's own processes (forked from one that has done their imports); Label Studio is a
stand-in in memory. Every write passes two
kill points, before and after (tests/crashing/hook); which there are is found out in a first
round that nothing disturbs. Then every process gets the points at which the fewest have died yet
and dies at the first of them, or after a while where it comes to none, until the round has had
its deaths. What must hold is asked when
it has come to rest: no correction lost, no snapshot trained on twice, every promoted version
loads, no task with mixed, double or missing pre-annotations. With --record, every round is written
down when it is over, and the next run of the command goes on after the last of them.

The optimisation within the training is replaced by a copy of the starter, written in the same
order by the same means, and MLflow's record is left out; that a real training goes on where it
was killed is a test (tests/integration/test_worker.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the rounds are shared with the tests

from ml_backend.system.atomic_files import write_json  # noqa: E402
from tests.conftest import free_port  # noqa: E402
from tests.crashing.nursery import Nursery  # noqa: E402
from tests.crashing.rounds import Broken, Plan, Round, template  # noqa: E402
from tests.crashing.studio import StandIn  # noqa: E402
from tests.postgres import Postgres, find_programs, run_postgres  # noqa: E402
from tests.s3 import CREDENTIALS, make_bucket, run_s3  # noqa: E402

ROLES = ("worker", "server", "training")
DEATHS = {"worker": 40, "server": 12, "training": 6}  # the most in one round


class Chooser:
    """Gives every process its way to die: where the fewest have died yet."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.known: dict[str, Counter[str]] = {role: Counter() for role in ROLES}
        self.died: dict[str, Counter[str]] = {role: Counter() for role in ROLES}
        self.left: Counter[str] = Counter()
        self.rounds = 0
        self.seconds = 0.0
        self.broken: list[str] = []

    def learn(self, passed: list[dict[str, Any]]) -> None:
        for entry in passed:
            self.known[entry["role"]][entry["point"]] += 1
            self.died[entry["role"]][entry["point"]] += entry["killed"]
            what = entry["point"].partition(": ")[2]
            # A process can also die while a request or a child goes on.
            if what.startswith(("POST ", "PATCH ", "DELETE ")):
                self.known[entry["role"]].setdefault(f"during: {what}", 0)
            if what.startswith("start "):
                self.known[entry["role"]].setdefault(f"while: {what}", 0)

    @property
    def kills(self) -> int:
        return sum(sum(counts.values()) for counts in self.died.values())

    def load(self, record: Path) -> None:
        """Go on where the runs before ended."""
        kept = json.loads(record.read_text())
        for role in ROLES:
            self.known[role], self.died[role] = (
                Counter(kept[name][role]) for name in ("known", "died")
            )
        self.rounds, self.seconds, self.broken = kept["rounds"], kept["seconds"], kept["broken"]

    def save(self, record: Path) -> None:
        names = ("known", "died", "rounds", "seconds", "broken")
        write_json(record, {name: getattr(self, name) for name in names})

    def plan(self, role: str) -> Plan | None:
        if self.left[role] <= 0:
            return None
        self.left[role] -= 1
        longest = {"worker": 8.0, "server": 6.0, "training": 1.0}[role]
        if self.rng.random() < 0.15 or not self.known[role]:
            return {"seconds": self.rng.uniform(0.05, longest)}
        fewest = min(self.died[role][point] for point in self.known[role])
        least = [p for p in sorted(self.known[role]) if self.died[role][p] == fewest]
        chosen = self.rng.sample(least, -(-len(least) // 4))
        count = self.rng.choice([1, 1, 1, 2, 4]) if len(chosen) > 1 else 1
        return {
            "points": chosen,
            "count": count,
            "while": self.rng.uniform(0.05, 1.0),
            "seconds": self.rng.uniform(longest, 2 * longest),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, help="processes to kill in all")
    parser.add_argument("--seed", type=int, default=0, help="of every choice")
    parser.add_argument("--keep", type=Path, help="a folder for what broke; else a temporary one")
    parser.add_argument(
        "--postgres", action="store_true", help="two workers on a PostgreSQL, which is started"
    )
    parser.add_argument(
        "--s3", action="store_true", help="versions in a bucket, the workers on two data folders"
    )
    parser.add_argument("--record", type=Path, help="go on with the rounds that this file counts")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no round after these")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    chooser = Chooser(rng)
    if options.record and options.record.exists():
        chooser.load(options.record)
        rng.seed(f"{options.seed} {chooser.rounds}")
    started, before = time.monotonic(), chooser.seconds
    folder = options.keep or Path(tempfile.mkdtemp(prefix="cytoloop-crashes-"))
    folder.mkdir(parents=True, exist_ok=True)
    made = template(Path(tempfile.mkdtemp(prefix="template-", dir=folder)))
    slow = lambda: rng.choice([0.0, 0.0, 0.0, 0.3])  # noqa: E731
    with (
        bucket(options.s3) as store,
        StandIn(slow) as studio,
        Nursery() as nursery,
        shared(options.postgres) as server,
    ):

        def tell(project: int, address: tuple[str, str, str]) -> None:
            studio.webhook[project] = address

        while chooser.kills < options.kills and time.monotonic() - started < 60 * options.minutes:
            if chooser.rounds:
                chooser.left = Counter(DEATHS)
            place: Path | None = folder / f"round-{chooser.rounds}"
            current = Round(
                made,
                nursery,
                place,
                studio.url,
                studio.token,
                chooser.plan,
                rng,
                tell,
                free_port(),
                database=server.create_database() if server else None,
                store=f"{store}/{chooser.rounds}" if store else None,
            )
            try:
                current.run()
            except Broken as error:
                chooser.broken.append(f"round {chooser.rounds}: {error}")
                print(chooser.broken[-1], file=sys.stderr)
                place = None  # is kept
            chooser.learn(current.passed())
            if place is not None:
                shutil.rmtree(place)
            chooser.rounds += 1
            chooser.seconds = before + time.monotonic() - started
            if options.record:
                chooser.save(options.record)
            progress(chooser, options.kills)
    report(chooser, options.json)
    if not chooser.broken and options.keep is None:
        shutil.rmtree(folder)
    sys.exit(1 if chooser.broken else 0)


def shared(wanted: bool) -> AbstractContextManager[Postgres | None]:
    """A PostgreSQL where it is wanted; exits where none is installed."""
    if not wanted:
        return nullcontext()
    programs = find_programs()
    if programs is None:
        sys.exit("PostgreSQL is not installed (apt-get install postgresql)")
    return run_postgres(programs, free_port())


@contextmanager
def bucket(wanted: bool) -> Iterator[str | None]:
    """The address of a bucket where it is wanted, in an S3 that is started."""
    if not wanted:
        yield None
        return
    with run_s3(free_port()) as url:
        os.environ.update({"AWS_ENDPOINT_URL": url, **CREDENTIALS})
        make_bucket(url, "crashes")
        yield "s3://crashes"


def progress(chooser: Chooser, wanted: int) -> None:
    print(
        f"round {chooser.rounds}: {chooser.kills} of {wanted} killed, "
        f"{len(chooser.broken)} rounds broken, {chooser.seconds / 60:.1f} min",
        file=sys.stderr,
        flush=True,
    )


def report(chooser: Chooser, as_json: bool) -> None:
    by_role = {role: sum(chooser.died[role].values()) for role in ROLES}
    died = {role: dict(sorted(chooser.died[role].items())) for role in ROLES}
    never = {role: [p for p, n in counts.items() if not n] for role, counts in died.items()}
    figures = {
        "kills": sum(by_role.values()),
        "by_role": by_role,
        "rounds": chooser.rounds,
        "points": {role: len(points) for role, points in died.items()},
        "points_never_died_at": never,
        "deaths": died,
        "broken": chooser.broken,
        "minutes": round(chooser.seconds / 60, 1),
    }
    if as_json:
        print(json.dumps(figures))
        return
    print(f"{figures['kills']} kills in {chooser.rounds} rounds")
    for role in ROLES:
        hit = len(died[role]) - len(never[role])
        print(f"  {role:9}{by_role[role]:5} deaths, at {hit} of {len(died[role])} points")
    print(f"{len(chooser.broken)} rounds in which something did not hold")


if __name__ == "__main__":
    main()
