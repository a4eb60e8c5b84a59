"""The numbers that a training of the classifier goes by; what they rest on: docs/classifier.md."""

from __future__ import annotations

from dataclasses import dataclass

# Stages of the trunk whose output is pooled: at stride 8 (40 channels) and 16 (112 channels). The
# last layer's 1,280 means, which ImageNet needed, transfer badly to cells.
TAPS = (2, 4)
# Quarter turns over which an answer is averaged: a cell has no up and down.
VIEWS = 4
# Sides of the network's input, px: a multiple of the trunk's stride of 32.
SIDES = (96, 224)
# Looks at images of a refinement at most, so that two cores are done within ten minutes, folds
# included, at the smallest side; and the fewest passes of however many images.
MOST_LOOKS = 12_800
FEWEST_PASSES = 4


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes:
        size: Side of the network's input, in pixels.
        steps: Optimiser steps of the refinement.
        batch: Images a step.
        penalties: Inverse strengths of the head's L2 penalty that folds choose among.
        rate: Peak learning rate of the head.
        trunk_share: The last stage's learning rate, as a share of the head's.
        decay: Factor of the learning rate from one stage to the one before it.
        weight_decay: AdamW's, on tensors of two and more dimensions.
        smoothing: Label smoothing, 0..1.
        balance: Power of the class frequencies in the logit adjustment: 1 weighs the classes
            alike, 0 by their frequency. At 1 the smoothing lifts the rarest above all others.
        zoom: Largest change of scale (0.1: from 1/1.1 to 1.1).
        shift: Largest shift, as a share of the side.
        gamma: Largest change of log gamma.
        gain: Largest change of log brightness.
        offset: Largest added brightness, of a range of 0..1.
        folds: Models that leave out some groups, for penalty, depth and temperature.
        fewest_to_refine: With fewer images the trunk stays as it is.
    """

    size: int = 96
    steps: int = 120
    batch: int = 24
    penalties: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    rate: float = 1e-3
    trunk_share: float = 0.25
    decay: float = 0.8
    weight_decay: float = 0.02
    smoothing: float = 0.1
    balance: float = 0.75
    zoom: float = 0.1
    shift: float = 0.03
    gamma: float = 0.4
    gain: float = 0.3
    offset: float = 0.1
    folds: int = 3
    fewest_to_refine: int = 150


RECIPE = Recipe()


def choose_recipe(
    count: int, side: float, *, epochs: int | None = None, size: int | None = None
) -> Recipe:
    """Derive the size of the input and the length of the training from the data.

    Args:
        count: Training images, at least one.
        side: Median of the longest side of the images, in pixels.
        epochs: Passes over the images, where a person asked for so many.
        size: Side of the input in pixels, likewise.
    """
    least, most = SIDES
    stride = 32
    wanted = size or min(max(side, least), most)
    few = count < 500
    batch = 24 if few else 32
    looks = max(min((13 if few else 14) * count, MOST_LOOKS), FEWEST_PASSES * count)
    return Recipe(
        size=max(stride, stride * round(wanted / stride)),
        batch=batch,
        steps=max(1, epochs * count // batch) if epochs else max(60, looks // batch),
        trunk_share=0.25 if few else 1.0,
        decay=0.8 if few else 0.85,
    )
