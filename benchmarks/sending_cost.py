"""What sending adds to a scan of which about one tile in twenty becomes a task.

    uv run python benchmarks/sending_cost.py [--tiles 1000] [--rounds 2]

The folder is that of `scan_speed.py`'s last row, with one real tile in 30 and the background of
the real images for the others. `cytoloop detect` goes through it, and `cytoloop scan` into new
projects of a real Label Studio on the same machine, which shares its cores; both as a user
starts them, from the first import to the last line. An uncounted start of each comes first: as
after any first start, the libraries lie there as byte code, also where the environment's
variables keep Python from writing it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scan_speed import REAL, cut, sparse_scan
from studio import running, warm

from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.installation import StudioInstallation
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "ml_backend" / "label_studio" / "configs" / "mitosis.xml").read_text(
    encoding="utf-8"
)
PORT = 8098
EACH = 30
FIRST = 40  # tiles of the start that does not count


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tiles", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=2)
    asked = arguments.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        tiles = cut(home / "tiles", asked.tiles)
        sparse_scan(tiles, home / "tiles", home / "sparse", EACH)
        settings = Settings(data_dir=home / "data")
        with running(settings.studio, settings.media, PORT) as (environment, _):
            measure(home, settings, environment, asked.rounds)


def measure(home: Path, settings: Settings, environment: StudioInstallation, rounds: int) -> None:
    registry = Registry(settings.versions, settings.champions)
    version = resolve_model("starter:mitosis", registry).name
    token = environment.prepare_account().token
    studio = Studio(environment.url, token)
    few = home / "few"
    few.mkdir()
    for path in sorted((home / "sparse").iterdir())[:FIRST]:
        shutil.copy(path, few)
    for number in range(rounds + 1):
        project = studio.create_project(f"Round {number}", CONFIG).id
        connected = Project(project, environment.url, token, f"Round {number}", CONFIG)
        Projects(settings.projects_database).connect(connected)
        registry.promote(str(project), version, by="benchmark", reason="start")
        source = str(home / "sparse" if number else few)
        alone, found = timed(settings, "detect", source, "--out", str(home / f"{number}.csv"))
        whole, sent = timed(settings, "scan", source, "--project", str(project))
        if number:
            print(
                f"{found['tiles']} tiles, {sent['sent']} tasks: detect {alone:.1f} s, "
                f"scan {whole:.1f} s, {whole / alone - 1:+.1%}",
                flush=True,
            )


def timed(settings: Settings, *command: str) -> tuple[float, dict[str, Any]]:
    environment = warm(settings.data_dir)
    started = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ml_backend",
            "--data-dir",
            str(settings.data_dir),
            *command,
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        check=True,
    )
    return time.perf_counter() - started, json.loads(done.stdout)


if __name__ == "__main__":
    main()
