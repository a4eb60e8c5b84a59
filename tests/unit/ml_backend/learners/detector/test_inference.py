"""The detector against independent oracles: torch, torchvision's NMS, and itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.calibration import PlattScaling
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector import export as export_module
from ml_backend.learners.detector import inference as module
from ml_backend.learners.detector.export import ExportFailed, export
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.preprocess import prepare_input
from ml_backend.learners.detector.torch_runtime import TorchRuntime
from ml_backend.learners.detector.weights import build_network, save_weights
from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.learners.openvino_runtime import OpenVinoRuntime, count_cuda_devices

CARD = ModelCard("yolov5n", ("Mitotic cell", "Other"), ("Mitotic cell",), 0.5, 0.3)


def random_network() -> dict[str, torch.Tensor]:
    """Random weights that answer everywhere with confidences around a half."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small work: handing it around costs more than it takes
    network = build_network(CARD.architecture, CARD.classes)
    with torch.no_grad():
        for branch in network.model[-1].cv3:
            branch[-1].bias.zero_()
            branch[-1].weight.mul_(4)
    # Statistics of a few passes, so that activations have the sizes of a trained network.
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, 3, 64, 96))
    return network.state_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("version")
    save_weights(random_network(), CARD, folder / FILE_NAME)
    export(folder / FILE_NAME, folder)
    return folder


@pytest.fixture(scope="module")
def openvino(folder: Path) -> OpenVinoRuntime:
    return OpenVinoRuntime(folder / "model.xml")


@pytest.fixture(scope="module")
def in_torch(folder: Path) -> TorchRuntime:
    return TorchRuntime(folder / FILE_NAME, "cpu")


@pytest.fixture(scope="module")
def detector(openvino: OpenVinoRuntime) -> Detector:
    return Detector(CARD, openvino)


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Soft blobs on noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    field = random.normal(40, 6, (height, width))
    for _ in range(1 + height * width // 8000):
        cx, cy, r = random.uniform(0, width), random.uniform(0, height), random.uniform(4, 16)
        field += 180 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * r**2))
    return np.repeat(np.clip(field, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def assert_found(boxes: Boxes, there: Boxes, pixels: float = 1.0, sure: float = 0.02) -> None:
    """Every one of `boxes` has its equal `there`: class, corners and confidence."""
    for x1, y1, x2, y2, label, confidence in boxes.to_rows():
        same = there.select(there.label == label)
        apart = np.abs(same.xyxy - [x1, y1, x2, y2]).max(axis=1, initial=0)
        equal = (apart <= pixels) & (np.abs(same.confidence - confidence) <= sure)
        assert equal.any(), f"{label} at {x1:.0f}, {y1:.0f} ({confidence:.3f}) is not there"


def raw(runtime: object, image: np.ndarray, scale: float) -> np.ndarray:
    (answer,) = runtime.infer([prepare_input(image, scale)[None]])  # type: ignore[attr-defined]
    return answer[0]


def test_half_precision_moves_no_box_by_a_pixel(folder: Path, in_torch: TorchRuntime) -> None:
    halved = TorchRuntime(folder / FILE_NAME, "cpu", half=True)
    batch = prepare_input(scene(64, 1536), 1.0)[None]  # wider than 16 bits tell pixels apart
    (ours,), (exact,) = halved.infer([batch]), in_torch.infer([batch])
    assert ours.dtype == np.float32
    assert np.abs(ours[:, :4] - exact[:, :4]).max() < 0.5
    assert np.abs(ours[:, 4:] - exact[:, 4:]).max() < 0.01


@pytest.mark.parametrize("size", [(96, 128), (333, 517), (1, 1)])
def test_openvino_answers_what_torch_answers(
    openvino: OpenVinoRuntime, in_torch: TorchRuntime, size: tuple[int, int]
) -> None:
    batch = prepare_input(scene(*size), CARD.scale)[None]
    (ours,), (torchs,) = openvino.infer([batch]), in_torch.infer([batch])
    assert ours.shape == torchs.shape and ours.dtype == torchs.dtype == np.float32
    assert np.abs(ours[:, :4] - torchs[:, :4]).max() < 0.5
    assert np.abs(ours[:, 4:] - torchs[:, 4:]).max() < 0.01


def test_on_real_images_the_starter_is_the_same_in_both(
    starter_versions: Path, real_images: Path
) -> None:
    (version,) = starter_versions.iterdir()
    card = read_card(version / FILE_NAME)
    images = [decode(path) for path in sorted(real_images.glob("images/*.png"))[::40]]
    on_cpu = Detector(card, OpenVinoRuntime(version / "model.xml")).detect(images, 0.1)
    on_torch = Detector(card, TorchRuntime(version / FILE_NAME, "cpu")).detect(images, 0.1)
    assert sum(map(len, on_cpu)) > 0
    for a, b in zip(on_cpu, on_torch, strict=True):
        # What one side has just above the floor the other may have just below it.
        assert_found(a.select(a.confidence > 0.12), b)
        assert_found(b.select(b.confidence > 0.12), a)


def test_many_images_answer_as_each_alone(
    openvino: OpenVinoRuntime, in_torch: TorchRuntime
) -> None:
    sizes = [(96, 128), (200, 200), (96, 128), (40, 300), (96, 127), (96, 128)]
    images = [scene(*size, seed=i) for i, size in enumerate(sizes)]
    for runtime in (openvino, in_torch):
        detector = Detector(CARD, runtime)
        together = detector.detect(images, 0.3)
        assert any(len(boxes) for boxes in together)
        for boxes, image in zip(together, images, strict=True):
            (alone,) = detector.detect([image], 0.3)
            assert len(boxes) == len(alone)
            assert_found(boxes, alone, 0.01, 1e-3)


def test_threads_share_a_detector(detector: Detector) -> None:
    images = [scene(90 + 10 * i, 160, seed=i) for i in range(6)]
    expected = detector.detect(images)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: detector.detect(images), range(12)))
    for answer in answers:
        for boxes, alone in zip(answer, expected, strict=True):
            np.testing.assert_array_equal(boxes.xyxy, alone.xyxy)


def test_a_failing_input_does_not_cost_a_request(detector: Detector) -> None:
    broken = np.zeros((5, 5), np.uint8)  # no channels
    for _ in range(8):  # more often than there are requests
        with pytest.raises(Exception):  # noqa: B017  whatever numpy or OpenCV raises
            detector.detect([scene(64, 64), broken])
    done = threading.Event()
    threading.Thread(
        target=lambda: (detector.detect([scene(64, 64)]), done.set()), daemon=True
    ).start()
    assert done.wait(20)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    floor=st.floats(0.05, 0.9),
)
def test_boxes_lie_in_the_image(detector: Detector, height: int, width: int, floor: float) -> None:
    (boxes,) = detector.detect([scene(height, width)], floor)
    assert len(boxes) <= module.MOST_BOXES
    assert (boxes.xyxy >= 0).all()
    assert (boxes.xyxy[:, [0, 2]] <= width).all() and (boxes.xyxy[:, [1, 3]] <= height).all()
    assert (boxes.xyxy[:, 2:] >= boxes.xyxy[:, :2]).all()
    assert (boxes.confidence >= floor).all() and (np.diff(boxes.confidence) <= 0).all()
    assert set(boxes.label) <= set(CARD.classes)


def test_no_images_no_boxes(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_the_threshold_of_the_card_is_the_default_floor(detector: Detector) -> None:
    image = scene(200, 300)
    (boxes,) = detector.detect([image])
    (same,) = detector.detect([image], CARD.threshold)
    np.testing.assert_array_equal(boxes.xyxy, same.xyxy)
    assert (boxes.confidence >= CARD.threshold).all()


class Blobs:
    """A runtime that knows the truth: bright discs in its input become exact boxes."""

    batch = 2

    def __init__(self) -> None:
        self.largest = 0

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        import cv2

        for batch in batches:
            self.largest = max(self.largest, *batch.shape[1:3])
            rows = []
            for image in batch:
                _, _, stats, _ = cv2.connectedComponentsWithStats(
                    (image[..., 0] > 200).astype(np.uint8)
                )
                found = np.zeros((6, 400), np.float32)
                for column, (x, y, w, h, area) in enumerate(stats[1:]):
                    confidence = 0.5 + min(area, 4000) / 10_000
                    found[:5, column] = x + w / 2, y + h / 2, w, h, confidence
                rows.append(found)
            yield np.stack(rows)


def test_calibrated_confidences_are_of_the_same_boxes(openvino: OpenVinoRuntime) -> None:
    scaling = PlattScaling(1.5, -0.8)
    cards = (CARD, replace(CARD, calibration=scaling))
    plain, scaled = (Detector(card, openvino).detect([scene(96, 128)], 0.02)[0] for card in cards)
    expected = scaling.scale(plain.confidence)
    kept = expected >= 0.02
    assert 0 < kept.sum() == len(scaled)
    np.testing.assert_allclose(scaled.confidence, expected[kept], atol=1e-5)
    np.testing.assert_array_equal(scaled.xyxy, plain.xyxy[kept])


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_in_a_huge_image_every_object_is_found_once(scale: float) -> None:
    height, width = 3700, 9100
    image = np.full((height, width, 3), 114, np.uint8)
    truth = []
    random = np.random.default_rng(3)
    for y in range(100, height - 100, 170):
        for x in range(100, width - 100, 170):
            cx, cy = x + random.integers(-20, 20), y + random.integers(-20, 20)
            half = int(random.integers(10, 50))
            image[cy - half : cy + half, cx - half : cx + half] = 255
            truth.append((cx - half, cy - half, cx + half, cy + half))
    truth_boxes = np.array(truth[:MOST], np.float32)
    for left, top, right, bottom in truth[MOST:]:
        image[top:bottom, left:right] = 114
    blobs = Blobs()
    card = ModelCard("yolov5n", CARD.classes, CARD.headline, scale, 0.3)
    (boxes,) = Detector(card, blobs).detect([image])
    assert blobs.largest <= module.WINDOW
    assert len(boxes) == len(truth_boxes)
    assert (
        compute_iou(truth_boxes, boxes.xyxy).max(axis=1).min() > 0.75
    )  # a pixel of the input more or less


MOST = module.MOST_BOXES - 10


def test_a_missing_file_says_how_to_make_it(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights.safetensors is missing"):
        Detector.load(tmp_path)
    (tmp_path / FILE_NAME).write_bytes((folder / FILE_NAME).read_bytes())
    with pytest.raises(FileNotFoundError, match="use the weights alone"):
        OpenVinoRuntime(tmp_path / "model.xml")


def test_a_disagreeing_export_leaves_nothing_behind(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino as ov  # after the package, which silences its reporter

    model = ov.Core().read_model(folder / "model.xml")
    monkeypatch.setattr(export_module, "_convert", lambda network: model)  # converting is slow
    monkeypatch.setattr(export_module, "CONFIDENCE_TOLERANCE", -1.0)
    with pytest.raises(ExportFailed, match="differs from its weights"):
        export(folder / FILE_NAME, tmp_path / "version")
    assert list((tmp_path / "version").iterdir()) == []


def test_export_refuses_what_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import save_file

    other = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, str(other))
    monkeypatch.setattr(sys, "argv", ["export", str(other), str(tmp_path / "version")])
    with pytest.raises(SystemExit, match="is not a cytoloop model file"):
        export_module.main()


@pytest.mark.skipif(count_cuda_devices() > 0, reason="with a CUDA device torch is what serves")
def test_a_process_on_a_cpu_detects_without_torch_and_mlflow(folder: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "import ml_backend.serving.app, tasks.detection.detect_files\n"
        "from ml_backend.imaging.decode import decode\n"
        "from ml_backend.learners.detector.inference import Detector\n"
        "Detector.load(Path(sys.argv[1])).detect([np.zeros((64, 64, 3), np.uint8)])\n"
        "print([m for m in ('torch', 'mlflow', 'ultralytics') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_openvino_is_told_to_report_nothing() -> None:
    code = (
        "import ml_backend.learners.openvino_runtime, openvino\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
