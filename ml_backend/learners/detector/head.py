"""A narrower detection head.

ultralytics gives each of the head's branches two hidden layers of 64 channels, whatever the
number of classes: over a third of a YOLOv5n's arithmetic, for networks that tell 80 classes
apart. Ours tell a few, and half the channels do. A pretrained head is narrowed by keeping,
in every layer, the channels that the next layer listens to most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.torch_utils import initialize_weights

# Level by level, a branch is: convolution with norm, the same again, output.
_FIRST = re.compile(r"(.+\.cv[23]\.\d+)\.0\.conv\.weight$")


def narrow_head(head: Any, width: int) -> None:
    """Give all hidden layers of ultralytics' Detect `width` channels, with random weights."""
    for branches in (head.cv2, head.cv3):
        for level, (first, _, last) in enumerate(branches):
            branches[level] = nn.Sequential(
                Conv(first.conv.in_channels, width, 3),
                Conv(width, width, 3),
                nn.Conv2d(width, last.out_channels, 1),
            )
    initialize_weights(head)


def find_hidden_width(tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Find the channels of the head's hidden layers in a state_dict; None where it has no head."""
    return next((len(t) for name, t in tensors.items() if _FIRST.search(name)), None)


def narrow_weights(tensors: Mapping[str, torch.Tensor], width: int) -> dict[str, torch.Tensor]:
    """Keep at most `width` channels in the hidden layers of the head in a state_dict.

    The channels kept are those that matter most to the next layer: the magnitude of the norm's
    scale times the sum of the magnitudes of the weights that read the channel (Li et al. 2017,
    Pruning filters for efficient ConvNets, with the norm's scale as in Liu et al. 2017).
    """
    made = dict(tensors)
    for branch in [match[1] for name in tensors if (match := _FIRST.search(name))]:
        for layer, reader in ((f"{branch}.0", f"{branch}.1.conv"), (f"{branch}.1", f"{branch}.2")):
            reading = made[f"{reader}.weight"]
            heard = made[f"{layer}.bn.weight"].abs() * reading.abs().sum(dim=(0, 2, 3))
            kept = heard.argsort(descending=True, stable=True)[:width].sort().values
            made[f"{reader}.weight"] = reading[:, kept]
            names = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
            for name in names:
                made[f"{layer}.{name}"] = made[f"{layer}.{name}"][kept]
    return made
