"""The classifier's network: the first stages of an EfficientNet-Lite0, pooled, and a linear layer.

The trunk was trained on ImageNet (Apache-2.0, see trunk/LICENSE) and ships with the package, so
that the first classifier of a laboratory without network starts well. Its layers are written here,
because neither torchvision nor ultralytics has this network; the tensors are called as timm calls
them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ml_backend.learners.classifier.hyperparameters import TAPS

TRUNK = Path(__file__).parent / "trunk" / "efficientnet_lite0.safetensors"
ARCHITECTURE = "efficientnet_lite0"

# Kernel, stride, expansion, channels and repeats of each stage: Tan and Le 2019, EfficientNet,
# table 1, without squeeze-and-excitation (the "Lite" changes). The last two stages are not used.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
)
FEATURES = sum(2 * _STAGES[tap][3] for tap in TAPS)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow pads an even side: the odd pixel at the far end."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, groups=groups, bias=False)
        extra = kernel - stride
        near = extra // 2
        self.pad = nn.ZeroPad2d((near, extra - near, near, extra - near))

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, C, H, W), H and W even where the stride is 2."""
        return super().forward(self.pad(input))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """An inverted residual: expand, filter by depth, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.act = nn.ReLU6()
        self.expands = expansion > 1
        self.skips = stride == 1 and inputs == outputs
        if self.expands:
            self.conv_pw, self.bn1 = SameConv2d(inputs, inner, 1), _norm(inner)
            self.conv_dw, self.bn2 = SameConv2d(inner, inner, kernel, stride, inner), _norm(inner)
            self.conv_pwl, self.bn3 = SameConv2d(inner, outputs, 1), _norm(outputs)
        else:
            self.conv_dw, self.bn1 = SameConv2d(inner, inner, kernel, stride, inner), _norm(inner)
            self.conv_pw, self.bn2 = SameConv2d(inner, outputs, 1), _norm(outputs)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        if self.expands:
            x = self.act(self.bn1(self.conv_pw(input)))
            x = self.act(self.bn2(self.conv_dw(x)))
            x = self.bn3(self.conv_pwl(x))
        else:
            x = self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(input)))))
        return input + x if self.skips else x


class PooledClassifier(nn.Module):
    """Mean and deviation over space of some stages, standardised, and a linear layer.

    The deviation tells texture and shape, which a mean loses.

    Args:
        classes: How many are told apart.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv_stem, self.bn1, self.act = SameConv2d(3, 32, 3, 2), _norm(32), nn.ReLU6()
        stages, width = [], 32
        for kernel, stride, expansion, channels, repeats in _STAGES:
            blocks = []
            for index in range(repeats):
                blocks.append(Block(width, channels, kernel, stride if not index else 1, expansion))
                width = channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        self.classifier = nn.Linear(FEATURES, classes)

    def pool(self, images: Tensor) -> Tensor:
        """Pool the tapped stages: (B, FEATURES), from (B, 3, S, S) in 0..1, S a multiple of 32."""
        x, pooled = self.act(self.bn1(self.conv_stem(images * 2 - 1))), []
        for depth, stage in enumerate(self.blocks):
            x = stage(x)
            if depth in TAPS:
                pooled += [x.mean((2, 3)), torch.sqrt(x.var((2, 3)) + 1e-6)]
        return torch.cat(pooled, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, S, S) in 0..1."""
        return self.classifier((self.pool(images) - self.centre) / self.spread)

    def stages(self) -> list[list[nn.Module]]:
        """The parts from the input to the head, for learning rates that fall with depth."""
        trunk = [[self.conv_stem, self.bn1], *([stage] for stage in self.blocks)]
        return [*trunk, [self.classifier]]


def build(classes: int) -> PooledClassifier:
    """Build a network with the shipped trunk and an untrained head.

    Raises:
        FileNotFoundError: The trunk is not there: a training never starts from random weights.
    """
    network = PooledClassifier(classes)
    tensors = {name: tensor.float() for name, tensor in load_file(str(TRUNK)).items()}
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    own = {"centre", "spread", "classifier.weight", "classifier.bias"}
    counts = {name for name in missing if name.endswith("num_batches_tracked")}
    if unexpected or set(missing) - own - counts:
        raise ValueError(f"{TRUNK} does not hold this trunk")
    return network.eval()


def turn(images: Tensor, view: int) -> Tensor:
    """View 0 to 7 of the square's symmetries, of (B, C, S, S)."""
    turned = torch.rot90(images, view % 4, (2, 3))
    return turned.flip(3) if view >= 4 else turned
