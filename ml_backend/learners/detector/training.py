"""Training a detector, in a process of its own.

    python -m ml_backend.learners.detector.training JOB.json

A training takes minutes, all cores and gigabytes, and may be killed for it. The worker and
the command line therefore start it as a child at low priority (`run_in_child`) and read
its progress, one JSON object a line. Whatever happens there is one `TrainingFailed` here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import __version__
from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import canonical
from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.learners.detector.preprocess import scale_of
from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.system.atomic_files import read_json, write_json

# What a training tells while it runs, one a line:
#   {"skipped": path, "reason": why}                    an image that cannot be read
#   {"epoch", "epochs", "loss", "seconds_left"}         after every epoch
#   {"again": why}                                      started anew, with less
#   {"done": true, "seconds"}                           the last line, or:
#   {"error": why, "again": may another try do}
Progress = Callable[[dict[str, Any]], None]

# Written into `out` when all else is there: what the training was of.
_DONE = "done.json"

_NO_MEMORY = "there is not enough memory; close other programs, or choose a smaller --imgsz"


class TrainingFailed(RuntimeError):
    """A training made no version; the message is one line that says what to do."""


class TrainingInterrupted(TrainingFailed):
    """The machine ended it, not the data: killed, no memory, a full disk. Another try may do."""


@dataclass(frozen=True)
class TrainingJob:
    """What to train.

    examples: labelled images; those without boxes show that nothing is there (examples
        that nobody labelled, with boxes None, are left out).
    classes: the detector's outputs, in this order; boxes of other classes are ignored.
    headline: the classes that the project is about.
    base: the .safetensors or .npz file to start from.
    out: the folder that gets weights.safetensors, model.xml and model.bin.
    architecture: an ultralytics model name.
    epochs: passes over the images. imgsz: input pixels of the longest side of the median
        image. The recipe's own where None.
    seed: of every random choice.
    """

    examples: Sequence[Example]
    classes: tuple[str, ...]
    headline: tuple[str, ...]
    base: Path
    out: Path
    architecture: str = "yolov5n"
    epochs: int | None = None
    imgsz: int | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JOB.json holds it."""
        return {
            "examples": [
                {
                    "image": str(example.image),
                    "boxes": [list(row[:5]) for row in example.boxes.rows()],
                    "ignored": example.ignored.tolist(),
                    "deleted": example.deleted.tolist(),
                    "pixel_size": example.pixel_size,
                }
                for example in self.examples
                if example.boxes is not None
            ],
            "classes": list(self.classes),
            "headline": list(self.headline),
            "architecture": self.architecture,
            "base": str(self.base),
            "epochs": self.epochs,
            "imgsz": self.imgsz,
            "seed": self.seed,
            "out": str(self.out),
        }

    @classmethod
    def from_json(cls, job: dict[str, Any]) -> TrainingJob:
        """Raises ValueError when a field is missing or has another form."""
        try:
            return cls(
                examples=[
                    Example(
                        image=Path(e["image"]),
                        group="",
                        boxes=Boxes.drawn(tuple(row) for row in e["boxes"]),
                        ignored=np.array(e.get("ignored", []), np.float32).reshape(-1, 4),
                        deleted=np.array(e.get("deleted", []), np.float32).reshape(-1, 4),
                        pixel_size=e.get("pixel_size"),
                    )
                    for e in job["examples"]
                ],
                classes=tuple(job["classes"]),
                headline=tuple(job["headline"]),
                base=Path(job["base"]),
                out=Path(job["out"]),
                architecture=job.get("architecture", "yolov5n"),
                epochs=job.get("epochs"),
                imgsz=job.get("imgsz"),
                seed=job.get("seed", 0),
            )
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"a field of the job is missing or malformed: {error!r}") from error


def train(job: TrainingJob, progress: Progress) -> Path:
    """Train in this process; the path of the weights, beside which the IR lies.

    An image that cannot be read is told to `progress` and left out. When memory runs out
    the batch is halved, when the loss diverges the rate is lowered, and it starts anew.

    Raises TrainingFailed with one line when there is nothing to train on or no way on.
    """
    # Torch is imported where it is needed: a server that imports this module goes without,
    # and a child can tell at once which images it cannot read.
    from ml_backend.learners.detector.training_images import (
        choose_canvas,
        choose_scale,
        read_views,
        usual_pixel_size,
    )

    recipe = RECIPE
    labelled = [example for example in job.examples if example.boxes is not None]
    pixel_size = usual_pixel_size(labelled)
    scale = choose_scale(labelled, job.imgsz, recipe, known=_known_scale(job, pixel_size))
    input_um = pixel_size / scale if pixel_size else None
    views = list(read_views(labelled, job.classes, scale, progress, input_um))
    if not views:
        raise TrainingFailed(
            f"none of the {len(labelled)} labelled images can be read; see the reasons above"
            if labelled
            else "no image is labelled yet; correct and submit some tasks first"
        )
    canvas = choose_canvas(views, job.imgsz or recipe.imgsz)

    import torch

    from ml_backend.learners.detector import weights
    from ml_backend.learners.detector.base_model_check import finds
    from ml_backend.learners.detector.export import export
    from ml_backend.learners.detector.train_loop import Diverged, draws, fit, out_of_memory

    shown = len(draws(views, canvas))
    passes = min(max(recipe.views // shown, recipe.epochs_least), recipe.epochs)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gently: bool | None = None
    slower = 1.0
    while True:
        torch.manual_seed(job.seed)
        model: Any = weights.build(job.architecture, job.classes, recipe.head)
        knowing = weights.start_from(model, job.base, job.classes)
        if gently is None:
            gently = (
                knowing
                and shown < recipe.few
                and finds(job.base, views, job.classes, job.headline, device) >= recipe.found
            )
        tried = replace(
            recipe,
            lr=slower * (recipe.lr_tuned if knowing else recipe.lr),
            epochs=job.epochs or (min(passes, recipe.epochs_tuned) if knowing else passes),
            frozen=len(model.model) - 1 if gently else recipe.frozen,
        )
        try:
            before = weights.copied(model) if gently else None
            tensors = fit(model.to(device), views, canvas, tried, job.seed, progress)
            if before:
                tensors = weights.mixed(before, tensors, recipe.kept)
            break
        except Diverged as error:
            slower /= 4
            if slower < 1 / 64:
                raise TrainingFailed(f"{error} at every learning rate; check the boxes") from None
            progress({"again": f"{error}; now learning four times slower"})
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if recipe.batch == 1:
                raise TrainingInterrupted(_NO_MEMORY) from error
            recipe = replace(recipe, batch=recipe.batch // 2)
            progress({"again": f"not enough memory; with {recipe.batch} images a step"})
    card = ModelCard(
        architecture=job.architecture,
        classes=job.classes,
        headline=job.headline,
        scale=scale,
        threshold=recipe.threshold,
        nms_iou=recipe.nms_iou,
        input_um=input_um,
    )
    path = job.out / FILE_NAME
    weights.save(tensors, card, path)
    export(path, job.out)
    return path


def finished(job: TrainingJob) -> bool:
    """Did a training of exactly this job, by this release and recipe, end well in `out`?"""
    try:
        return read_json(job.out / _DONE) == _identity(job.to_json())
    except ValueError:
        return False


def _identity(job: dict[str, Any]) -> dict[str, Any]:
    """What makes two trainings the same, as _DONE holds it."""
    identity = {"job": job, "recipe": asdict(RECIPE), "release": __version__}
    return dict(json.loads(json.dumps(identity)))


def _known_scale(job: TrainingJob, pixel_size: float | None) -> float | None:
    """The scale of a base that knows all classes, for images of so many µm a pixel: what it
    learned, it learned at this one."""
    if job.base.suffix != ".safetensors" or not job.base.exists():
        return None
    card = read_card(job.base)
    known = {canonical(name) for name in card.classes}
    scale = scale_of(card.scale, card.input_um, pixel_size)
    return scale if known >= {canonical(name) for name in job.classes} else None


def run_in_child(job: TrainingJob, on_progress: Progress) -> Path:
    """Train in a child process at low priority; the path of the weights.

    on_progress is called with what the child tells, except its last line. An exception
    from it ends the child.

    A training that was finished, and whose parent was killed before it took the result, is
    not done again: the files that exactly this job left in `out` are taken.

    Raises TrainingFailed when the child finds nothing to train on or fails, and
    TrainingInterrupted when it was killed or the machine had no room for it.
    """
    if not any(example.boxes is not None for example in job.examples):
        raise TrainingFailed("no image is labelled yet; correct and submit some tasks first")
    if finished(job):
        return job.out / FILE_NAME
    with tempfile.TemporaryDirectory(prefix="cytoloop-training-") as folder:
        file, log = Path(folder, "job.json"), Path(folder, "stderr.txt")
        write_json(file, job.to_json())
        last: dict[str, Any] = {}
        with log.open("wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", __spec__.name, str(file), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
            )
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    last = json.loads(line)
                    if not last.keys() & {"done", "error"}:
                        on_progress(last)
                child.wait()
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
                child.stdout.close()
        if not last.get("done") or child.returncode:
            told = log.read_text(encoding="utf-8", errors="replace").strip()
            if "error" in last:
                raise (TrainingInterrupted if last.get("again") else TrainingFailed)(last["error"])
            killed = child.returncode < 0 or not told
            raise (TrainingInterrupted if killed else TrainingFailed)(_why(child.returncode, told))
    return job.out / FILE_NAME


def _why(returncode: int, told: str) -> str:
    """One line for a child that died without a word of its own."""
    if returncode == -getattr(signal, "SIGKILL", 9):
        return f"the training was killed, most often because {_NO_MEMORY}"
    reason = told.splitlines()[-1] if told else "nothing was written to its log"
    return f"the training ended with code {returncode}: {reason}"


def main() -> int:
    """The child: a job's file, and the parent's process id with which to end, if any."""
    # Libraries print where they like; only progress may reach the real stdout.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def tell(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=lines, flush=True)

    try:
        from ml_backend.learners import child_process

        child_process.lower()
        if len(sys.argv) > 2:
            child_process.end_with(int(sys.argv[2]))
        import time

        started = time.monotonic()
        with open(sys.argv[1], encoding="utf-8") as file:
            content = json.load(file)
        job = TrainingJob.from_json(content)
        (job.out / _DONE).unlink(missing_ok=True)
        train(job, tell)
        write_json(job.out / _DONE, _identity(content))
        tell({"done": True, "seconds": round(time.monotonic() - started, 1)})
        return 0
    except MemoryError:
        tell({"error": _NO_MEMORY, "again": True})
    except (TrainingFailed, OSError, ValueError) as error:
        again = isinstance(error, (TrainingInterrupted, OSError))
        tell({"error": " ".join(str(error).split()), "again": again})
    return 1


if __name__ == "__main__":
    sys.exit(main())
