"""A folder of data runs nothing, whatever its files are called and say of themselves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.registry.starters import STARTERS

COMMAND = Path(sys.executable).with_name("cytoloop")  # as users start it
MODULES = (
    "random",
    "json",
    "tempfile",
    "numpy",
    "torch",
    "openvino",
    "ml_backend",
    "gunicorn.conf",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images among files that leave a mark when they are run."""
    folder = tmp_path / "images"
    folder.mkdir()
    for module in MODULES:
        mark = f"open({str(tmp_path / 'marks')!r}, 'a').write('{module}\\n')\n"
        (folder / f"{module}.py").write_text(mark)
    for seed in range(2):
        pixels, _ = generate_field(np.random.default_rng(seed), size=(694, 520), scale=0.5)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
    evil = f"__import__('os').system('echo yaml >> {tmp_path / 'marks'}')"
    for name in ("yolov5n.yaml", "yolov5.yaml", "model.yaml"):
        (folder / name).write_text(
            f"nc: 2\nbackbone:\n  - [-1, 1, Conv, [{evil!r}, 6, 2, 2]]\nhead: []\n"
        )
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CYTOLOOP_DATA_DIR": str(folder.parent / "data"), "TERM": "dumb"}
    return subprocess.run(
        [str(COMMAND), *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def with_architecture(path: Path, architecture: str) -> None:
    """A copy of the shipped detector that names another architecture."""
    starter = STARTERS / "mitosis.safetensors"
    from safetensors import safe_open

    with safe_open(str(starter), framework="numpy") as file:
        card = json.loads(file.metadata()["cytoloop"])
    card["architecture"] = architecture
    save_file(load_file(starter), path, {"cytoloop": json.dumps(card)})


def test_detecting_in_a_folder_runs_none_of_its_files(folder: Path) -> None:
    done = run(folder, "detect", ".", "--out", "boxes.csv")
    assert done.returncode == 0, done.stderr
    assert (folder / "boxes.csv").exists()
    assert not (folder.parent / "marks").exists(), (folder.parent / "marks").read_text()


@pytest.mark.parametrize("name", ["./model", "../images/model", "model", "yolov5n.yaml"])
def test_a_file_of_weights_chooses_no_file_to_read(folder: Path, name: str) -> None:
    with_architecture(folder / "weights.safetensors", name)
    done = run(folder, "models", "show", "weights.safetensors")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "architecture" in done.stderr
    assert not (folder.parent / "marks").exists()


def test_a_file_of_the_folder_is_no_architecture(folder: Path) -> None:
    """Neither the present folder's file nor the mark: ultralytics' own yolov5n answers."""
    shutil.copy(STARTERS / "mitosis.safetensors", folder / "weights.safetensors")
    done = run(folder, "detect", "0.png", "--model", "weights.safetensors", "--out", "boxes.csv")
    assert done.returncode == 0, done.stderr
    assert not (folder.parent / "marks").exists()
