"""A project whose boxes carry a choice goes through the loop of a real Label Studio."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.dataset.corrections import find_shown_regions, read_corrections
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.exchange.detection_files import read_detections
from tasks.exchange.export_project import export
from tests.conftest import RunningStudio
from tests.integration.test_extending import predictions
from tests.integration.test_worker import Worker
from tests.regions import CLASSES, paint

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="Cell"/></RectangleLabels>
  <Choices name="shape" toName="image" perRegion="true">
    <Choice value="Cross"/><Choice value="Disc"/>
  </Choices>
</View>"""
LABELS = LabelingConfig.parse(CONFIG)
SIZE = 170, 100


@pytest.mark.timeout(600)
def test_boxes_and_their_choices_are_learned_judged_and_published(
    label_studio: RunningStudio, tmp_path: Path
) -> None:
    """Four corrected tasks train, four are held out: so few that none is lent to judging."""
    studio = label_studio.studio
    number = studio.create_project("Cells and their shapes", CONFIG).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    truth = [paint(folder / f"{i}.png", i, things=3).boxes for i in range(10)]
    studio.add_media_folder(number, folder)
    data = [
        {
            "image": f"/data/local-files/?d={number}/{i}.png",
            "sample": f"s{i}",
            "split": "train" if i < 4 else "holdout",
        }
        for i in range(10)
    ]
    ids = studio.import_tasks(number, [{"data": fields} for fields in data])
    for task, boxes in list(zip(ids, truth, strict=True))[:8]:
        assert boxes is not None
        cells = Boxes.from_rows((*row[:4], "Cell") for row in boxes.to_rows())
        result = LABELS.write_regions(
            cells,
            width=SIZE[0],
            height=SIZE[1],
            matching=LABELS.match_classes(("Cell",)),
            version="by hand",
            chosen=[{str(name): 1.0} for name in boxes.label],
            choice_matching=LABELS.match_region_choices(CLASSES),
        )
        studio.submit_annotation(task, result)

    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    projects = Projects(settings.projects_database)
    url, token = label_studio.url, label_studio.account.token
    projects.connect(Project(number, url, token, "Cells and their shapes", CONFIG))
    worker = Worker(settings, CYTOLOOP_EPOCHS="20", CYTOLOOP_IMGSZ="160")
    try:
        projects.add_note(number, "train")
        registry = Registry(settings.versions, settings.champions)
        worker.until("a champion", lambda: registry.get_champion(str(number)), 500)
        worker.until("published", lambda: len(predictions(studio, number)) >= 2)
    finally:
        worker.process.kill()
        worker.process.wait()
    (version,) = registry.list_versions(str(number))
    assert version.kind == "detector_classifier" and version.decision["promoted"]
    figures = version.figures
    assert figures["images"] == 4 and figures["f1"] > 0.3
    assert figures["region_choices"]["items"] >= 3
    assert figures["region_choices"]["accuracy"] >= 0.7
    assert set(figures["region_choices"]["classes"]) == set(CLASSES)
    assert (registry.get_folder(version.name) / "curves.png").exists()

    # The untouched tasks have boxes, each with a choice of the same id.
    found = predictions(studio, number)
    named = 0
    for task, boxes in list(zip(ids, truth, strict=True))[8:]:
        (prediction,) = found[task]
        assert prediction["model_version"] == version.name and boxes is not None
        assert {item["type"] for item in prediction["result"]} == {"rectanglelabels", "choices"}
        regions, problems = LABELS.read_regions(prediction["result"], *SIZE)
        assert regions and not problems
        assert all(len(region.choices) == 1 for region in regions)
        named += len(regions)
    assert named >= 2

    # In an exported file a box is called by its choice.
    done = export(number, tmp_path / "out.csv", None, settings, lambda done, total: None)
    assert done["images"] == 8
    exported = {
        (found.source, box.label)
        for found in read_detections(tmp_path / "out.csv")
        for box in found.detections
    }
    assert exported == {
        (source, str(name))
        for source, boxes in zip(sorted({source for source, _ in exported}), truth, strict=False)
        for name in boxes.label
    }

    # Another choice for a region is read as a correction of it.
    task = ids[8]
    (shown,) = found[task]
    choice = next(item for item in shown["result"] if item["type"] == "choices")
    (before,) = choice["value"]["choices"]
    choice["value"]["choices"] = [next(name for name in CLASSES if name != before)]
    studio.submit_annotation(task, shown["result"], parent_prediction=shown["id"])
    (corrected,) = (row for row in studio.list_annotated_tasks(number) if row["id"] == task)

    (correction,), _ = read_corrections(corrected, find_shown_regions(corrected), LABELS)
    assert correction.changed == 1
    (edit,) = (edit for edit in correction.edits if edit.change != "kept")
    assert (edit.change, edit.label) == ("relabelled", f"Cell ({before})")
