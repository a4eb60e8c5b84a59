"""A detector's network in torch: built, started from a base, read and written as safetensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import ROOT, SETTINGS, YAML, patches

from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.detector import head
from ml_backend.learners.model_file import ModelCard, read_card
from ml_backend.system.atomic_files import replace_file

# The last layer of a class branch of ultralytics' Detect: its rows (or biases) are classes.
_CLASS_OUTPUT = re.compile(r"\.cv3\.\d+\.2\.(weight|bias)$")

# It makes PIL want, and install, a HEIF reader whenever a file is no image.
patches._pil_plugins_registered = True
SETTINGS["sync"] = False  # no usage reports


def build_network(
    architecture: str, classes: tuple[str, ...], width: int | None = None
) -> DetectionModel:
    """Build a detector with random weights; one output a class, in this order.

    Args:
        architecture: As ultralytics names it, such as "yolov5n".
        classes: The outputs.
        width: Channels of the head's hidden layers; ultralytics' own where None.

    Raises:
        ValueError: ultralytics has no such architecture.
    """
    # Its attributes are taken for tensors by torch's annotations.
    model: Any = DetectionModel(_read_architecture(architecture), nc=len(classes), verbose=False)
    if width and width != head.find_hidden_width(model.state_dict()):
        head.narrow_head(model.model[-1], width)
        model.model[-1].bias_init()
    model.names = dict(enumerate(classes))
    return model


def _read_architecture(name: str) -> dict[str, Any]:
    """Read the layers of an architecture such as "yolov5n", as ultralytics itself describes them.

    ultralytics would look for a file of that name in the present folder first, and evaluates
    expressions in what it finds: so the file is taken from the package, and nowhere else.
    """
    own = {file.stem: file for file in (ROOT / "cfg" / "models").glob("*/*.yaml")}
    size = name[-1:] if name[-1:] in "nslmx" else ""
    for stem in (name, name.removesuffix(size)):
        if stem in own:
            return {**YAML.load(own[stem]), "scale": size, "yaml_file": f"{name}.yaml"}
    raise ValueError(f"there is no architecture {name[:40]!r}; yolov5n is one")


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a .safetensors or .npz file, as float32 where they are floats.

    Raises:
        ValueError: It is neither.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors = load_file(str(path))
        elif path.suffix == ".npz":
            if path.exists() and not is_zipfile(path):  # numpy would take it for a pickle
                raise ValueError("it is no .npz file")
            with np.load(path, allow_pickle=False) as arrays:
                tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        else:
            raise ValueError("a base is a .safetensors or an .npz file")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file to start from") from error
    except Exception as error:
        raise ValueError(f"{path} cannot be used as a base: {error}") from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def load_base(model: DetectionModel, base: Path, classes: tuple[str, ...]) -> bool:
    """Load into `model` the tensors of `base` that fit by name and shape.

    A base with a wider head is narrowed to the model's. From a base of ours, an output is taken
    for the class that means the same.

    Args:
        model: Changed in place.
        base: .safetensors of ours, or .npz.
        classes: The model's outputs.

    Returns:
        Whether the base knows all classes, so that nothing of the model stays random.

    Raises:
        ValueError: Nothing fits, so it is another architecture.
    """
    tensors = read_tensors(base)
    own = model.state_dict()
    if width := head.find_hidden_width(own):
        try:
            tensors = head.narrow_weights(tensors, width)
        except (KeyError, IndexError) as error:
            raise ValueError(f"{base} has another kind of head; choose another base") from error
    fitting = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
    shared: list[tuple[int, int]] = []
    if base.suffix == ".safetensors":
        known = [canonicalize(name) for name in read_card(base).classes]
        wanted = [canonicalize(name) for name in classes]
        shared = [(i, known.index(name)) for i, name in enumerate(wanted) if name in known]
        for name in (n for n in own if _CLASS_OUTPUT.search(n)):
            if name in tensors and tensors[name].shape[1:] == own[name].shape[1:]:
                fitting[name] = own[name].clone()
                for row, source in shared:
                    fitting[name][row] = tensors[name][source]
    if not fitting:
        raise ValueError(f"{base} fits no layer of this architecture; choose another base")
    model.load_state_dict(fitting, strict=False)
    return fitting.keys() >= own.keys() and len(shared) == len(classes)


def copy_weights(model: DetectionModel) -> dict[str, torch.Tensor]:
    """Copy the present state_dict to the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def interpolate_weights(
    before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], kept: float
) -> dict[str, torch.Tensor]:
    """Interpolate linearly from `after` (kept = 0) to `before` (kept = 1).

    Between a network and what a short training made of it, a point is often better on all
    images than either end (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
    """
    return {
        name: torch.lerp(tensor.cpu(), before[name], kept)
        if tensor.is_floating_point()
        else tensor.cpu()
        for name, tensor in after.items()
    }


def load_between(
    model: DetectionModel, earlier: Path, classes: tuple[str, ...], kept: float
) -> bool:
    """Load the mean of a network's weights and those of what was trained from them earlier.

    A network that goes on from where another ended finds worse solutions than one that starts anew;
    from a point between the two it does not (Ash and Adams 2020, On warm-starting neural network
    training, who shrink towards zero what here is drawn back to the base).

    Args:
        model: With the base's weights; changed in place.
        earlier: .safetensors of ours.
        classes: The model's outputs.
        kept: The share of the model's own weights in the mean, 0..1.

    Returns:
        Whether it was done; else the earlier one does not know all classes, or is another network.
    """
    before = copy_weights(model)
    try:
        if load_base(model, earlier, classes):
            model.load_state_dict(interpolate_weights(before, copy_weights(model), kept))
            return True
    except ValueError:
        pass  # nothing of it fits
    model.load_state_dict(before)
    return False


def load_network(path: Path) -> tuple[DetectionModel, ModelCard]:
    """Load the detector in a .safetensors file of ours, ready to predict.

    Raises:
        ValueError: The file is not ours.
        RuntimeError: Tensors are missing.
    """
    card = read_card(path)
    tensors = read_tensors(path)
    model = build_network(card.architecture, card.classes, head.find_hidden_width(tensors))
    model.load_state_dict(tensors, strict=True)
    return model.eval(), card


def save_weights(tensors: dict[str, torch.Tensor], card: ModelCard, path: Path) -> None:
    """Write a state_dict as half-precision safetensors with its card, never half-written."""
    from safetensors.torch import save_file

    half = {
        name: (t.half() if t.is_floating_point() else t).cpu().contiguous().clone()
        for name, t in tensors.items()
    }
    with replace_file(path) as temporary:
        save_file(half, str(temporary), metadata=card.to_metadata())
