"""The training of a detector: from labelled images to weights and the files that serve them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_backend.learners.base import (
    NO_MEMORY,
    Progress,
    TrainingFailed,
    TrainingInterrupted,
)
from ml_backend.learners.detector.hyperparameters import RECIPE, Recipe
from ml_backend.learners.detector.preprocess import compute_scale
from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.learners.training_job import TrainingJob

ARCHITECTURE = "yolov5n"


def train(job: TrainingJob, progress: Progress) -> Path:
    """Train a detector in this process.

    When memory runs out the batch is halved, when the loss diverges the rate is lowered, and the
    training starts anew.

    Args:
        job: What to train.
        progress: Also told which images cannot be read; those are left out.

    Returns:
        The path of the weights, beside which the IR lies.

    Raises:
        TrainingFailed: There is nothing to train on or no way on; one line says why.
        TrainingInterrupted: Memory ran out even with one image a step.
    """
    if job.base is None:
        raise TrainingFailed("a detector starts from a base, such as starter:mitosis; name one")
    architecture = job.architecture or ARCHITECTURE
    # Torch is imported where it is needed: a server that imports this module goes without,
    # and a child can tell at once which images it cannot read.
    from ml_backend.learners.detector.training_data.training_images import (
        choose_canvas,
        choose_scale,
        compute_median_pixel_size,
        read_training_images,
    )

    recipe = RECIPE
    labelled = [example for example in job.examples if example.boxes is not None]
    pixel_size = compute_median_pixel_size(labelled)
    scale = choose_scale(labelled, job.imgsz, recipe, known=_read_base_scale(job, pixel_size))
    input_um = pixel_size / scale if pixel_size else None
    images = list(read_training_images(labelled, job.classes, scale, progress, input_um))
    if not images:
        raise TrainingFailed(
            f"none of the {len(labelled)} labelled images can be read; see the reasons above"
            if labelled
            else "no image is labelled yet; correct and submit some tasks first"
        )
    canvas = choose_canvas(images, job.imgsz or recipe.imgsz)

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

    shown = round(len(repeat_by_area(images, canvas)) / job.share)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    only_head: bool | None = None
    rate = 1.0
    while True:
        torch.manual_seed(job.seed)
        model: Any = weights.build_network(architecture, job.classes, recipe.head)
        knows_task = weights.load_base(model, job.base, job.classes)
        if only_head is None:
            only_head = (
                knows_task
                and shown < recipe.few_images
                and measure_base_f1(job.base, images, job.classes, job.headline, device)
                >= recipe.known_f1
            )
        goes_on = (
            knows_task
            and not only_head
            and job.earlier is not None
            and weights.load_between(model, job.earlier, job.classes, recipe.kept_again)
        )
        epochs, lr = choose_pace(
            shown,
            recipe,
            job.epochs,
            knows_task=knows_task,
            only_head=only_head,
            goes_on=goes_on,
        )
        attempt = replace(
            recipe,
            lr=rate * lr,
            epochs=epochs,
            frozen=len(model.model) - 1 if only_head else recipe.frozen,
        )
        try:
            before = weights.copy_weights(model) if only_head else None
            tensors = fit(model.to(device), images, canvas, attempt, job.seed, progress)
            if before:
                tensors = weights.interpolate_weights(before, tensors, recipe.kept_share)
            break
        except Diverged as error:
            rate /= 4
            if rate < 1 / 64:
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


def choose_pace(
    shown: int,
    recipe: Recipe,
    wished: int | None,
    *,
    knows_task: bool,
    only_head: bool,
    goes_on: bool,
) -> tuple[int, float]:
    """Choose how many passes over the images are made, and at which rate.

    Args:
        shown: Images that a pass of the whole training shows.
        recipe: The bounds of both.
        wished: Passes that somebody asked for, in place of the recipe's.
        knows_task: Whether the base has all classes of the project.
        only_head: Whether the head alone learns.
        goes_on: Whether some of the images were learned earlier.

    Returns:
        The passes, and AdamW's peak rate.
    """
    epochs = min(max(recipe.images_shown // shown, recipe.epochs_least), recipe.epochs)
    if not knows_task:
        return wished or epochs, recipe.lr
    most = min(epochs, recipe.epochs_tuned)
    if wished or only_head:
        return wished or most, recipe.lr_tuned
    enough = recipe.images_tuned // shown
    fewer = min(max(enough, recipe.epochs_tuned_least), most)
    least = recipe.epochs_again_least if goes_on else recipe.epochs_tuned_least
    return min(max(enough, least), most), recipe.lr_tuned * most / fewer


def _read_base_scale(job: TrainingJob, pixel_size: float | None) -> float | None:
    """Read the scale of a base that knows all classes; None where the base does not.

    Args:
        job: With the base.
        pixel_size: µm that a pixel of the training images shows.
    """
    if job.base is None or job.base.suffix != ".safetensors" or not job.base.exists():
        return None
    card = read_card(job.base)
    scale = compute_scale(card.scale, card.input_um, pixel_size)
    return scale if card.knows_all(job.classes) else None
