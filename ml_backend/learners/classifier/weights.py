"""Classifiers in torch: saved as safetensors and built again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

from ml_backend.learners.classifier.network import PooledClassifier
from ml_backend.learners.model_file import ModelCard, read_card
from ml_backend.system.atomic_files import replace_file


def save(networks: Sequence[PooledClassifier], card: ModelCard, path: Path) -> None:
    """Write networks as half-precision safetensors with their card, never half-written."""
    half = {
        f"{number}.{name}": (t.half() if t.is_floating_point() else t).contiguous().clone()
        for number, network in enumerate(networks)
        for name, t in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        save_file(half, str(temporary), metadata=card.to_metadata())


def load(path: Path) -> tuple[list[PooledClassifier], ModelCard]:
    """Load the networks in a .safetensors file of ours.

    Raises:
        ValueError: The file is not ours, or lacks tensors.
    """
    card = read_card(path)
    tensors = load_file(str(path))
    networks = []
    for number in range(int(card.options.get("networks", 1))):
        prefix = f"{number}."
        own = {
            name.removeprefix(prefix): t.float() if t.is_floating_point() else t
            for name, t in tensors.items()
            if name.startswith(prefix)
        }
        network = PooledClassifier(len(card.classes))
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold a whole classifier: {error}") from error
        networks.append(network.eval())
    return networks, card
