"""Training a detector: labelled images in, weights and the files that serve them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.base import (
    NO_MEMORY,
    Progress,
    TrainingFailed,
    TrainingInterrupted,
)
from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.learners.detector.preprocess import compute_scale
from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.learners.training_job import TrainingJob

ARCHITECTURE = "yolov5n"


def train(job: TrainingJob, progress: Progress) -> Path:
    """Train in this process; the path of the weights, beside which the IR lies.

    An image that cannot be read is told to `progress` and left out. When memory runs out
    the batch is halved, when the loss diverges the rate is lowered, and it starts anew.

    Raises:
        TrainingFailed: There is nothing to train on or no way on; one line says why.
    """
    if job.base is None:
        raise TrainingFailed("a detector starts from a base, such as starter:mitosis; name one")
    architecture = job.architecture or ARCHITECTURE
    # Torch is imported where it is needed: a server that imports this module goes without,
    # and a child can tell at once which images it cannot read.
    from ml_backend.learners.detector.training_images import (
        choose_canvas,
        choose_scale,
        compute_median_pixel_size,
        read_training_images,
    )

    recipe = RECIPE
    labelled = [example for example in job.examples if example.boxes is not None]
    pixel_size = compute_median_pixel_size(labelled)
    scale = choose_scale(labelled, job.imgsz, recipe, known=_known_scale(job, pixel_size))
    input_um = pixel_size / scale if pixel_size else None
    views = list(read_training_images(labelled, job.classes, scale, progress, input_um))
    if not views:
        raise TrainingFailed(
            f"none of the {len(labelled)} labelled images can be read; see the reasons above"
            if labelled
            else "no image is labelled yet; correct and submit some tasks first"
        )
    canvas = choose_canvas(views, job.imgsz or recipe.imgsz)

    import torch

    from ml_backend.learners.detector import weights
    from ml_backend.learners.detector.base_model_check import measure_base_f1
    from ml_backend.learners.detector.export import export
    from ml_backend.learners.detector.train_loop import (
        Diverged,
        fit,
        is_out_of_memory,
        repeat_by_area,
    )

    shown = len(repeat_by_area(views, canvas))
    passes = min(max(recipe.views // shown, recipe.epochs_least), recipe.epochs)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gently: bool | None = None
    slower = 1.0
    while True:
        torch.manual_seed(job.seed)
        model: Any = weights.build_network(architecture, job.classes, recipe.head)
        knowing = weights.load_base(model, job.base, job.classes)
        if gently is None:
            gently = (
                knowing
                and shown < recipe.few
                and measure_base_f1(job.base, views, job.classes, job.headline, device)
                >= recipe.found
            )
        tried = replace(
            recipe,
            lr=slower * (recipe.lr_tuned if knowing else recipe.lr),
            epochs=job.epochs or (min(passes, recipe.epochs_tuned) if knowing else passes),
            frozen=len(model.model) - 1 if gently else recipe.frozen,
        )
        try:
            before = weights.copy_weights(model) if gently else None
            tensors = fit(model.to(device), views, canvas, tried, job.seed, progress)
            if before:
                tensors = weights.interpolate_weights(before, tensors, recipe.kept)
            break
        except Diverged as error:
            slower /= 4
            if slower < 1 / 64:
                raise TrainingFailed(f"{error} at every learning rate; check the boxes") from None
            progress({"again": f"{error}; now learning four times slower"})
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if recipe.batch == 1:
                raise TrainingInterrupted(NO_MEMORY) from error
            recipe = replace(recipe, batch=recipe.batch // 2)
            progress({"again": f"not enough memory; with {recipe.batch} images a step"})
    card = ModelCard(
        architecture=architecture,
        classes=job.classes,
        headline=job.headline,
        scale=scale,
        threshold=recipe.threshold,
        nms_iou=recipe.nms_iou,
        input_um=input_um,
    )
    path = job.out / FILE_NAME
    weights.save_weights(tensors, card, path)
    export(path, job.out)
    return path


def _known_scale(job: TrainingJob, pixel_size: float | None) -> float | None:
    """The scale of a base that knows all classes, for images of so many µm a pixel: what it
    learned, it learned at this one."""
    if job.base is None or job.base.suffix != ".safetensors" or not job.base.exists():
        return None
    card = read_card(job.base)
    known = {canonicalize(name) for name in card.classes}
    scale = compute_scale(card.scale, card.input_um, pixel_size)
    return scale if known >= {canonicalize(name) for name in job.classes} else None
