"""In the place of the optimisation where hundreds of trainings must die: the same writes, no torch.

Takes a training's job and tells, writes and ends as `ml_backend.learners.training_child`
does. Its version is the base as it is, a detector that works, with the job's hash in its file so
that two jobs never make the same version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import traceback
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ml_backend.learners import child_process
from ml_backend.learners.model_file import FILE_NAME, IR_FILES, read_card
from ml_backend.learners.training_child import DONE, identify
from ml_backend.learners.training_job import TrainingJob
from ml_backend.system.atomic_files import replace_file, write_json


def main(file: Path, parent: int) -> None:
    """The child: a job's file and its parent's process id; CRASHES_TRAINED is a ready version."""
    try:
        run(file, parent)
    except OSError as error:
        print(json.dumps({"error": str(error), "again": True}), flush=True)
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(file: Path, parent: int) -> None:
    child_process.lower_priority()
    child_process.end_with_parent(parent)
    content = file.read_text(encoding="utf-8")
    job = TrainingJob.from_json(json.loads(content))
    (job.out / DONE).unlink(missing_ok=True)
    for epoch in (1, 2):
        told = {"epoch": epoch, "epochs": 2, "loss": 1.0 / epoch, "seconds_left": 0.2 * (2 - epoch)}
        print(json.dumps(told), flush=True)
        time.sleep(0.2)
    trained = Path(os.environ["CRASHES_TRAINED"])
    with safe_open(str(job.base), framework="numpy") as base:
        assert base.metadata()["cytoloop"]
    card = read_card(job.base)
    digest = hashlib.sha256(content.encode()).hexdigest()
    with replace_file(job.out / FILE_NAME) as temporary:
        metadata = {**card.to_metadata(), "job": digest}
        save_file(load_file(str(job.base)), str(temporary), metadata=metadata)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=job.out) as folder:
        for name in IR_FILES:
            shutil.copyfile(trained / name, Path(folder) / name)
        for name in reversed(IR_FILES):
            (Path(folder) / name).replace(job.out / name)
    write_json(job.out / DONE, identify(json.loads(content)))
    print(json.dumps({"done": True, "seconds": 0.4}), flush=True)
