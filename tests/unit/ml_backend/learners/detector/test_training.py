"""Training on generated images: small, but the real thing from the decoder to the artefact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import TrainingFailed, TrainingInterrupted
from ml_backend.learners.detector.hyperparameters import RECIPE, Recipe
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.training import choose_pace, train
from ml_backend.learners.model_file import FILE_NAME, read_card
from ml_backend.learners.training_child import is_finished, run_in_child, run_side_by_side
from ml_backend.learners.training_job import TrainingJob

STARTER = Path(__file__).parents[5] / "ml_backend" / "registry" / "starters" / "mitosis.safetensors"
CLASSES = ("Mitotic cell", "Other")


def blobs(folder: Path, number: int, boxes: int = 2) -> Example:
    """A dark field of 128 × 96 with bright squares, each of them marked."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 30, (96, 128, 3), np.uint8)
    rows = []
    for index in range(boxes):
        x, y = int(rng.integers(0, 40)) + 60 * index, int(rng.integers(0, 60))
        image[y : y + 24, x : x + 24] = 220
        rows.append((x, y, x + 24, y + 24, CLASSES[index % 2]))
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), image)
    return Example(path, f"sample {number}", Boxes.from_rows(rows))


def job(folder: Path, examples: list[Example], **changes: Any) -> TrainingJob:
    fields = {"base": STARTER, "out": folder / "out", "epochs": 1, "imgsz": 128, **changes}
    return TrainingJob(examples, CLASSES, CLASSES[:1], **fields)


def test_child_makes_a_version_that_detects(tmp_path: Path) -> None:
    corrupt = Example(tmp_path / "corrupt.png", "c", Boxes())
    corrupt.image.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    # Somebody looked, and removed what was marked: a place of nothing, and nothing else.
    nothing = replace(blobs(tmp_path, 9, boxes=0), deleted=np.array([[5, 5, 40, 40]], np.float32))
    examples = [*(blobs(tmp_path, n) for n in range(3)), nothing, corrupt]
    told: list[dict[str, Any]] = []
    path = run_in_child(job(tmp_path, examples, epochs=2), told.append)

    assert path == tmp_path / "out" / FILE_NAME
    assert [line["skipped"] for line in told if "skipped" in line] == [str(corrupt.image)]
    epochs = [line for line in told if "epoch" in line]
    assert [(line["epoch"], line["epochs"]) for line in epochs] == [(1, 2), (2, 2)]
    assert epochs[-1]["seconds_left"] == 0 and np.isfinite(epochs[-1]["loss"])
    card = read_card(path)
    assert (card.classes, card.headline, card.scale) == (CLASSES, CLASSES[:1], 1.0)
    found = Detector.load(path.parent).detect([np.zeros((96, 128, 3), np.uint8)], 0.01)
    assert len(found) == 1
    files = {FILE_NAME, "model.xml", "model.bin", "done.json"}
    assert {p.name for p in path.parent.iterdir()} == files

    # Whole, but nobody took it: the very same job is not done again, another one is.
    told.clear()
    assert run_in_child(job(tmp_path, examples, epochs=2), told.append) == path
    assert not told
    assert not is_finished(job(tmp_path, examples, epochs=3))
    assert not is_finished(job(tmp_path, examples[:-1], epochs=2))
    unmarked = [*examples[:3], replace(nothing, deleted=corrupt.deleted), corrupt]
    assert not is_finished(job(tmp_path, unmarked, epochs=2))


def test_nothing_to_learn_is_no_interruption_and_stops_none_beside_it(tmp_path: Path) -> None:
    """Only what the machine did to it is worth another try."""
    unreadable = Example(tmp_path / "none.png", "c", Boxes())
    jobs = [
        job(tmp_path, [unreadable], out=tmp_path / "none"),
        job(tmp_path, [blobs(tmp_path, 0)], out=tmp_path / "good"),
    ]
    told: list[tuple[int, dict[str, Any]]] = []
    bad, good = run_side_by_side(jobs, lambda place, step: told.append((place, step)))
    assert good.result() == tmp_path / "good" / FILE_NAME
    with pytest.raises(TrainingFailed, match="none of the 1") as caught:
        bad.result()
    assert not isinstance(caught.value, TrainingInterrupted)
    assert {place for place, step in told if "skipped" in step} == {0}
    assert [step["epoch"] for place, step in told if place == 1] == [1]
    assert run_side_by_side([], lambda place, step: None) == []


def test_same_seed_same_weights(tmp_path: Path) -> None:
    import torch

    from ml_backend.learners.detector import weights
    from ml_backend.learners.detector.train_loop import fit
    from ml_backend.learners.detector.training_data.training_images import read_training_images

    views = list(read_training_images([blobs(tmp_path, 0)], CLASSES, 1.0, print))

    def fitted(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = weights.build_network("yolov5n", CLASSES, RECIPE.head)
        return fit(model, views, (64, 64), replace(RECIPE, epochs=2), seed, lambda line: None)

    first, again, other = fitted(1), fitted(1), fitted(2)
    assert all(torch.allclose(first[name].float(), again[name].float()) for name in first)
    assert not all(torch.allclose(first[name].float(), other[name].float()) for name in first)


def test_nothing_labelled(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no image is labelled"):
        run_in_child(job(tmp_path, [Example(tmp_path / "a.png", "a")]), lambda line: None)


def test_nothing_readable(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    gone = Example(tmp_path / "gone.png", "a", Boxes())
    with pytest.raises(TrainingFailed, match="none of the 1 labelled images can be read"):
        train(job(tmp_path, [gone]), told.append)
    assert told[0]["skipped"] == str(gone.image)


def test_unusable_base(tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    base.write_bytes(b"not tensors")
    with pytest.raises(ValueError, match="not a cytoloop model file"):
        train(job(tmp_path, [blobs(tmp_path, 0)], base=base), lambda line: None)


def test_malformed_job_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"examples": []}))
    done = subprocess.run(
        [sys.executable, "-m", "ml_backend.learners.training_child", str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "missing or malformed" in json.loads(done.stdout)["error"]


def endless(folder: Path) -> TrainingJob:
    """A training that tells of a missing image at once and then goes on and on."""
    gone = Example(folder / "gone.png", "g", Boxes())
    return job(folder, [blobs(folder, 0), gone], epochs=10**6)


def the_child() -> psutil.Process:
    """The running training; what other tests killed and nobody collected has no command line."""
    return next(
        child
        for child in psutil.Process().children()
        if "ml_backend.learners.training_child"
        in child.as_dict(["cmdline"], ad_value=[])["cmdline"]
    )


@pytest.mark.skipif(os.name != "posix", reason="other systems tell no signal")
def test_killed_child_is_an_interrupted_training(tmp_path: Path) -> None:
    made: list[Path] = []

    def kill(line: dict[str, Any]) -> None:
        made.extend(tmp_path.glob("child-*/*"))
        the_child().send_signal(signal.SIGKILL)

    with pytest.raises(TrainingInterrupted, match="was killed"):
        run_in_child(endless(tmp_path), kill)
    assert not (tmp_path / "out").exists()
    # What it was told lies beside what it makes, never among the system's temporary files.
    assert {path.name for path in made} == {"job.json", "stderr.txt"}
    assert not list(tmp_path.glob("child-*"))


def test_progress_that_raises_ends_the_child(tmp_path: Path) -> None:
    children: list[psutil.Process] = []

    def stop(line: dict[str, Any]) -> None:
        children.append(the_child())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_child(endless(tmp_path), stop)
    assert not children[0].is_running()


def test_child_is_of_low_priority_and_ends_with_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(endless(tmp_path).to_json()))
    start = (
        "import subprocess, sys, os, time;"
        "child = subprocess.Popen([sys.executable, '-m', 'ml_backend.learners.training_child',"
        " sys.argv[1], str(os.getpid())], stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", start, str(file)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        priority = child.nice()
        parent.kill()
    if os.name == "posix":
        assert priority >= 10
    else:
        assert priority == psutil.BELOW_NORMAL_PRIORITY_CLASS
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@given(
    shown=st.integers(1, 100_000),
    wished=st.none() | st.integers(1, 300),
    knows_task=st.booleans(),
    only_head=st.booleans(),
)
def test_fewer_passes_go_with_a_higher_rate(
    shown: int, wished: int | None, knows_task: bool, only_head: bool
) -> None:
    epochs, lr = choose_pace(
        shown, RECIPE, wished, knows_task=knows_task, only_head=only_head, goes_on=False
    )
    calm, slow = choose_pace(
        shown, RECIPE, wished, knows_task=knows_task, only_head=True, goes_on=False
    )
    assert epochs * lr == pytest.approx(calm * slow)
    assert RECIPE.epochs_least <= epochs <= RECIPE.epochs or epochs == wished
    if not knows_task or only_head or wished:
        assert (epochs, lr) == (calm, slow)
    else:
        assert epochs * shown <= RECIPE.images_tuned or epochs <= RECIPE.epochs_tuned_least


def test_few_images_are_learned_slowly_and_more_of_them_faster() -> None:
    pace = {
        shown: choose_pace(shown, RECIPE, None, knows_task=True, only_head=False, goes_on=False)
        for shown in (8, 25, 64, 600)
    }
    assert [epochs for epochs, _ in pace.values()] == [40, 32, 26, 15]
    assert pace[8][1] == pace[600][1] == RECIPE.lr_tuned < pace[25][1] < pace[64][1]
    again = {
        shown: choose_pace(shown, RECIPE, None, knows_task=True, only_head=False, goes_on=True)
        for shown in pace
    }
    assert [epochs for epochs, _ in again.values()] == [40, 32, 13, 13]
    assert [lr for _, lr in again.values()] == [lr for _, lr in pace.values()]


def test_a_training_goes_on_from_between_base_and_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from ml_backend.learners.detector import training, weights

    examples = [blobs(tmp_path, n) for n in range(2)]
    start = weights.read_tensors(STARTER)
    shifted = {
        name: tensor + 0.0625 if tensor.is_floating_point() else tensor
        for name, tensor in start.items()
    }
    earlier = tmp_path / "earlier.safetensors"
    weights.save_weights(shifted, read_card(STARTER), earlier)
    # No step is made, so what comes out is what the training begins with.
    still = replace(RECIPE, epochs_tuned=4, images_tuned=1, lr_tuned=0.0, decay=0.0)
    still = replace(still, epochs_tuned_least=4, epochs_again_least=2)
    monkeypatch.setattr(training, "RECIPE", still)

    def learn(out: str, earlier: Path | None) -> tuple[int, dict[str, torch.Tensor]]:
        told: list[dict[str, Any]] = []
        asked = job(tmp_path, examples, epochs=None, out=tmp_path / out, earlier=earlier)
        path = train(asked, told.append)
        return max(line["epochs"] for line in told if "epochs" in line), weights.read_tensors(path)

    passes, anew = learn("anew", None)
    passes_again, between = learn("between", earlier)
    assert (passes, passes_again) == (4, 2)
    learned = [name for name in anew if name.endswith(("conv.weight", "bias"))]
    assert len(learned) > 50
    for name in learned:
        moved = between[name].float() - anew[name].float()
        assert moved.mean() == pytest.approx(0.03125, abs=5e-3), name


def test_no_training_goes_on_from_another_network(tmp_path: Path) -> None:
    import torch

    from ml_backend.learners.detector import weights

    model = weights.build_network("yolov5n", CLASSES, RECIPE.head)
    assert weights.load_base(model, STARTER, CLASSES)
    before = weights.copy_weights(model)
    other, foreign = tmp_path / "other.safetensors", tmp_path / "foreign.safetensors"
    card = replace(read_card(STARTER), classes=("Tetrad", "Other"))
    weights.save_weights(weights.read_tensors(STARTER), card, other)
    weights.save_weights({"a": torch.zeros(3)}, card, foreign)
    for earlier in (other, foreign):
        assert not weights.load_between(model, earlier, CLASSES, 0.5)
        after = weights.copy_weights(model)
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_diverging_loss_starts_again_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate at which the weights really become NaN."""
    from ml_backend.learners.detector import training

    wild = replace(RECIPE, lr_tuned=1e30, warmup_steps=1)
    monkeypatch.setattr(training, "RECIPE", wild)
    told: list[dict[str, Any]] = []
    with pytest.raises(TrainingFailed, match="at every learning rate"):
        train(job(tmp_path, [blobs(tmp_path, 0)], epochs=4), told.append)
    assert [line["again"] for line in told if "again" in line]


def fails(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Recipe], BaseException | None]
) -> list[Recipe]:
    """Let trainings of some recipes fail, all others do; the recipes that are tried."""
    from ml_backend.learners.detector import export, train_loop

    real, tried = train_loop.fit, []

    def fit(model: Any, views: Any, canvas: Any, recipe: Recipe, *more: Any) -> Any:
        tried.append(recipe)
        if (error := wrong(recipe)) is not None:
            raise error
        return real(model, views, canvas, recipe, *more)

    monkeypatch.setattr(train_loop, "fit", fit)
    monkeypatch.setattr(export, "export", lambda *_: None)  # slow, and tried elsewhere
    return tried


def test_a_diverged_training_recovers_at_a_lower_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_backend.learners.detector.train_loop import Diverged

    first = RECIPE.lr_tuned
    nan = Diverged("the loss became nan in epoch 1")
    tried = fails(monkeypatch, lambda recipe: nan if recipe.lr > first / 10 else None)
    told: list[dict[str, Any]] = []
    path = train(job(tmp_path, [blobs(tmp_path, 0)], imgsz=64), told.append)
    assert [recipe.lr for recipe in tried] == [first, first / 4, first / 16]
    assert [line["again"] for line in told if "again" in line] == [
        "the loss became nan in epoch 1; now learning four times slower"
    ] * 2
    assert read_card(path).classes == CLASSES and told[-1]["epoch"] == 1


def test_a_part_is_learned_at_the_pace_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = ValueError("the pace is known")
    tried = fails(monkeypatch, lambda recipe: stop)
    for share in (1.0, 1 / 32):
        part = job(tmp_path, [blobs(tmp_path, 0)], imgsz=64, epochs=None, share=share)
        with pytest.raises(ValueError, match="the pace"):
            train(part, print)
    (alone, slow), (of_whole, fast) = ((recipe.epochs, recipe.lr) for recipe in tried)
    assert (alone, of_whole) == (40, 26) and fast == pytest.approx(slow * 40 / 26)


def test_halved_until_it_fits_and_given_up_at_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PyTorch says it on a GPU, and as it says it on a CPU."""
    import torch

    full = [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ]
    enough = 2
    tried = fails(
        monkeypatch, lambda recipe: full[recipe.batch % 3 % 2] if recipe.batch > enough else None
    )
    told: list[dict[str, Any]] = []
    examples = [blobs(tmp_path, n) for n in range(3)]
    train(job(tmp_path, examples, imgsz=64), told.append)
    assert [recipe.batch for recipe in tried] == [8, 4, 2]
    assert told[0] == {"again": "not enough memory; with 4 images a step"}
    enough = 0
    with pytest.raises(TrainingInterrupted, match="not enough memory"):
        train(job(tmp_path, examples, imgsz=64), told.append)
    assert [recipe.batch for recipe in tried[3:]] == [8, 4, 2, 1]
    # What is no lack of memory is not taken for one.
    monkeypatch.undo()
    fails(monkeypatch, lambda recipe: RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        train(job(tmp_path, examples, imgsz=64), told.append)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by RLIMIT_AS")
def test_a_real_lack_of_memory_is_known(tmp_path: Path) -> None:
    """A process that may not take enough for eight images, but for fewer."""
    examples = [blobs(tmp_path, n) for n in range(8)]
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job(tmp_path, examples, imgsz=1024).to_json()))
    limited = (
        "import resource, sys, psutil, torch;"
        "from ml_backend.learners import training_child as job;"
        "from ml_backend.learners.detector import train_loop, export, training;"
        "torch.set_num_threads(1);"
        "torch.zeros(1, 3, 64, 64);"
        "now = psutil.Process().memory_info().vms;"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 1_000_000_000,) * 2);"
        "sys.argv = ['', sys.argv[1]]; sys.exit(job.main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", limited, str(file)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        told = [json.loads(child.stdout.readline() or "{}")]
        child.kill()
    assert told == [{"again": "not enough memory; with 4 images a step"}]
