"""The same detections on a Ray cluster: how fast with one worker and with two?

    uv run --extra ray python benchmarks/scan_ray.py [--tiles 1200] [--folder DIR]

A folder of 960 × 720 PNG tiles cut from the real images beside the project is searched by the
embedded executor on one core and on two, and on a Ray cluster of this machine with one worker
and with two; each in a process of its own, on all tiles and on a fifth of them. Printed are
the tiles a second by the difference of the two, the seconds that remain (loading the
detector, starting Ray and its workers), and whether the files of detections are the same,
byte for byte. A cluster's own processes and the one that gathers the answers need some of the
cores too, which here are those that detect.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from scan_speed import REAL, cut

from ml_backend.learners.detector.inference import Detector
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from tasks.detection.detect_files import detect


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiles", type=int, default=1200)
    options.add_argument("--folder", type=Path, help="keeps the tiles for the next run")
    options.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.one:
        executor, cores, *paths = asked.one
        measure(executor, int(cores), *map(Path, paths))
        return
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = asked.folder or scratch / "tiles"
        tiles = len(cut(folder, asked.tiles))
        registry = Registry(scratch / "versions", scratch / "champions")
        model = registry.get_folder(resolve_model("starter:mitosis", registry).name)
        fifth = scratch / "fifth"
        fifth.mkdir()
        for path in sorted(folder.iterdir())[::5]:
            os.link(path, fifth / path.name)
        print(f"{tiles} tiles, {os.cpu_count()} cores", flush=True)
        found = []
        for executor, cores in (("local", 1), ("local", 2), ("ray", 1), ("ray", 2)):
            took = []
            for source in (fifth, folder):
                out = scratch / f"{executor}{cores}{source.name}.json"
                job = [executor, str(cores), str(source), str(model), str(out)]
                began = time.perf_counter()
                subprocess.run([sys.executable, __file__, "--one", *job], check=True)
                took.append(time.perf_counter() - began)
            found.append(out.read_bytes())
            a_tile = (took[1] - took[0]) / (tiles - len(list(fifth.iterdir())))
            words = "core" if executor == "local" else "worker"
            print(
                f"  {executor}, {cores} {words}{'s' * (cores > 1)}: {1 / a_tile:6.1f} tiles/s, "
                f"and {took[1] - tiles * a_tile:5.1f} s to start and end",
                flush=True,
            )
        same = "the same" if len(set(found)) == 1 else "DIFFERENT"
        print(f"the {len(found)} files of detections are {same}")


def measure(executor: str, cores: int, folder: Path, model: Path, out: Path) -> None:
    if executor == "ray":
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
        import ray

        ray.init(
            num_cpus=cores, include_dashboard=False, logging_level="ERROR", log_to_driver=False
        )
    else:
        psutil.Process().cpu_affinity(list(range(cores)))
    cluster = model if executor == "ray" else None
    detect(folder, Detector.load(model), out, "starter", lambda *at: None, cluster=cluster)


if __name__ == "__main__":
    main()
