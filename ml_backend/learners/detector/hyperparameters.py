"""How a detector is trained: every number of it, with the reason or the measurement behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training.

    imgsz: input pixels along the longest side of the median training image.
    epochs: the most passes over the training images. views: with many images, passes are
        saved until no more images than this are shown; epochs_least: but no more of them.
    epochs_tuned: the most passes from a base that knows the task: more of a few images make
        it forget what it knew of others.
    few, found, kept: from a base that finds at least `found` (F1) of what fewer views than
        `few` show, the head alone learns, and of its weights `kept` stays as it was: a few
        images say little of all others that the base knew.
    batch: images a step; halved when memory runs out.
    head: channels of the head's hidden layers, of which the pretrained one has 64.
    frozen: the first layers of the backbone that keep the pretrained weights.
    lr: AdamW's peak rate of a new head. lr_tuned: of one that knows the task from its base.
    lr_backbone: its share for pretrained layers.
    warmup: share of the steps in which the rate rises, at least warmup_steps of them; then
        it falls as a cosine.
    decay: weight decay. ema: what a step leaves of the running mean of the weights.
    box, cls, dfl: the weights of the three parts of the loss. nothing: of what is seen where a
        person deleted a box, as a share of cls.
    warp: share of the images that are resized, turned freely and shifted; the others
        keep their pixels (mirrored or turned by quarters only).
    grafted: share of the images into which objects of others are laid, at most `grafts`.
    zoom: the largest resizing, as a factor. shift: the largest, as a share of the side.
    tiles: share of the steps on a canvas of half the height and width, which shows what
        a tile of a field shows: cells cut by its edge, and often nothing.
    near: share of the windows into a larger field that are laid around some object.
    visible: a box of which less than this share is left at an edge is ignored.
    gain: largest brightening or darkening, as a factor. gamma: the same of the exponent.
    noise: largest standard deviation, grey levels. blur: largest sigma, input pixels.
    object_side: the least median side of the objects, input pixels.
    threshold: the confidence from which the version counts a box.
    """

    imgsz: int = 512
    epochs: int = 150
    views: int = 9000
    epochs_least: int = 15
    epochs_tuned: int = 40
    few: int = 60
    found: float = 0.6
    kept: float = 0.5
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
    nothing: float = 1.0
    warp: float = 0.5
    grafted: float = 0.4
    grafts: int = 3
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
