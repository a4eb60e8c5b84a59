"""Checks of the machine and of what is installed on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from ml_backend.doctor.finding import Check, Finding
from ml_backend.learners.openvino_runtime import count_cuda_devices
from ml_backend.settings import Settings

# Packages that all write the same folder, cv2/.
OPENCVS = (
    "opencv-python", "opencv-python-headless",
    "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip
# A training writes up to a few hundred MB, Label Studio's database as much: bytes.
LEAST_FREE, LITTLE_FREE = 500_000_000, 5_000_000_000


def check_opencv(settings: Settings) -> Iterator[Finding]:
    """Look for packages of OpenCV that overwrite each other, and import it."""
    found = {name: version(name) for name in OPENCVS if _is_installed(name)}
    try:
        import cv2
    except ImportError as error:
        yield Finding(
            "error",
            f"OpenCV cannot be imported: {error}",
            f"pip uninstall -y {' '.join(found) or OPENCVS[1]}, then "
            'pip install "opencv-python-headless>=4.13"',
        )
        return
    if len(found) > 1:
        packages = ", ".join(f"{name} {number}" for name, number in found.items())
        yield Finding(
            "error",
            f"{len(found)} packages of OpenCV write over each other: {packages}",
            f"pip uninstall -y {' '.join(found)}, then "
            'pip install "opencv-python-headless>=4.13"; or install with uv, which settles it',
        )
        return
    yield Finding("ok", f"one OpenCV, {cv2.__version__}")


def check_openvino(settings: Settings) -> Iterator[Finding]:
    """Look whether OpenVINO, which detects on CPUs, can be used."""
    try:
        import openvino

        devices = openvino.Core().available_devices
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding(
            "error",
            f"OpenVINO, which detects on CPUs, cannot be used: {error}",
            'pip install --force-reinstall "openvino>=2026.1"',
        )
        return
    if "CPU" not in devices:
        yield Finding(
            "error",
            f"OpenVINO sees no CPU that it can use, only {', '.join(devices) or 'nothing'}",
            "use a machine whose processor has SSE4.2 or is an ARM64",
        )
        return
    yield Finding("ok", f"OpenVINO {version('openvino')} detects on the CPU")


def check_gpu(settings: Settings) -> Iterator[Finding]:
    """Look whether a GPU is used where there is one."""
    count = count_cuda_devices()
    if not count:
        if shutil.which("nvidia-smi"):
            yield Finding(
                "warning",
                "there is an NVIDIA driver, but it offers no device to this process",
                "run nvidia-smi: it says what the driver lacks; in a container, start it with "
                "--gpus all",
            )
        else:
            yield Finding("ok", "no NVIDIA GPU; detecting and training run on the CPU")
    elif "cpu" in (installed := version("torch")):
        yield Finding(
            "warning",
            f"there is a GPU, but torch {installed} is a build for CPUs",
            "pip install --force-reinstall torch torchvision, from an index with CUDA builds",
        )
    else:
        yield Finding("ok", f"torch {installed} may use {count} NVIDIA GPU(s)")


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Look how much room is left where everything is kept."""
    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    seen = f"{free / 1e9:.1f} GB free for {settings.data_dir}"
    mend = (
        f"make room, or move the folder to a larger disk and name it with --data-dir; "
        f"{settings.images} may be deleted at any time"
    )
    if free < LEAST_FREE:
        yield Finding("error", f"{seen}: trainings cannot be written", mend)
    elif free < LITTLE_FREE:
        yield Finding("warning", f"{seen}: enough for a few trainings only", mend)
    else:
        yield Finding("ok", seen)


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


CHECKS = (
    Check("OpenCV", check_opencv),
    Check("OpenVINO", check_openvino),
    Check("GPU", check_gpu),
    Check("disk", check_disk),
)
