"""The hyperparameters of a detector's training.

Where a number was measured, docs/training.md has the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training.

    Attributes:
        imgsz: Input pixels along the longest side of the median training image.
        epochs: The most passes over the training images.
        images_shown: With many images, fewer passes, until no more images than this are shown.
        epochs_least: But no fewer passes than this.
        epochs_tuned: The most passes from a base that knows the task: more passes over few images
            make it forget what it knew of others.
        images_tuned: From such a base, when all but the first layers learn: fewer passes, until no
            more images than this are shown, at a rate that is higher by as much.
        epochs_tuned_least: But no fewer passes than this.
        kept_again: Where an earlier version learned some of the images, the share of the base's
            weights in the mean with its own, from which a training starts.
        epochs_again_least: Such a training takes no fewer passes than this, at the same rate.
        few_images: Below so many images, a base that already finds them is tuned gently: only the
            head learns, because a few images tell little of all others that the base knew.
        known_f1: The F1 from which a base counts as one that already finds them.
        kept_share: The share of the head's old weights in the mean with the new ones, then.
        batch: Images a step; halved when memory runs out.
        head: Channels of the head's hidden layers, of which the pretrained one has 64.
        frozen: The first layers of the backbone that keep the pretrained weights.
        lr: AdamW's peak rate of a new head.
        lr_tuned: The same where the base knows the task.
        lr_backbone: The rate of pretrained layers, as a share of the head's.
        warmup: Share of the steps in which the rate rises; then it falls as a cosine.
        warmup_steps: But at least so many steps.
        decay: Weight decay.
        ema: Decay of the running mean of the weights, each step.
        box: The weight of the loss of boxes.
        cls: The weight of the loss of classes.
        dfl: The weight of the distribution focal loss.
        deleted: The weight of what is found where a person deleted a box, as a share of cls.
        warp: Share of the images that are resized, turned freely and shifted; the others
            keep their pixels (mirrored or turned by quarters only).
        pasted: Share of the images into which objects of others are pasted.
        most_pasted: Objects pasted into an image, at most.
        zoom: The largest resizing, as a factor.
        turn: The largest free turn, degrees.
        shift: The largest shift, as a share of the side.
        tiles: Share of the steps on a canvas of half the height and width, which shows what
            a tile of a field shows: cells cut by its edge, and often nothing.
        near: Share of the crops of a larger field that are laid around some object.
        visible: A box of which less than this share is left at an edge is ignored.
        gain: The largest brightening or darkening, as a factor.
        gamma: The same of the exponent.
        noise: The largest standard deviation, grey levels.
        blur: The largest sigma, input px.
        object_side: The least median side of the objects, input px.
        threshold: The confidence from which the version counts a box.
        nms_iou: Two boxes of one class with a greater IoU are one object.
    """

    imgsz: int = 512
    epochs: int = 150
    images_shown: int = 9000
    epochs_least: int = 15
    epochs_tuned: int = 40
    images_tuned: int = 800
    epochs_tuned_least: int = 26
    kept_again: float = 0.5
    epochs_again_least: int = 13
    few_images: int = 60
    known_f1: float = 0.6
    kept_share: float = 0.5
    batch: int = 8
    head: int = 32
    frozen: int = 4
    lr: float = 2e-3
    lr_tuned: float = 5e-4
    lr_backbone: float = 0.5
    warmup: float = 0.05
    warmup_steps: int = 20
    decay: float = 0.01
    ema: float = 0.99
    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5
    deleted: float = 1.0
    warp: float = 0.5
    pasted: float = 0.4
    most_pasted: int = 3
    zoom: float = 1.7
    turn: float = 45.0
    shift: float = 0.3
    tiles: float = 0.25
    near: float = 0.5
    visible: float = 0.3
    gain: float = 1.8
    gamma: float = 1.3
    noise: float = 6.0
    blur: float = 1.0
    object_side: int = 32
    threshold: float = 0.25
    nms_iou: float = 0.6


RECIPE = Recipe()
