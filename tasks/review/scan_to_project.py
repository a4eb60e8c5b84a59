"""`cytoloop scan`: from a microscope's output to review tasks in a project."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate
from ml_backend.dataset.small_scans import ScanDivider
from ml_backend.imaging.decode import encode_png
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.session import StudioFault
from ml_backend.learners.base import Model
from ml_backend.learners.kinds import finds_objects, load_detector
from ml_backend.registry.resolve import find_form, is_int8
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import ModelCache
from ml_backend.serving.preannotation import PreAnnotator
from ml_backend.settings import Settings
from ml_backend.state.projects import Goal, Project, Projects
from ml_backend.system.atomic_files import DiskFull
from ml_backend.system.batching import make_batches
from tasks.detection.scan_classifier import ScanClassifier, refuse_detector_options
from tasks.detection.scan_detector import ScanDetector
from tasks.detection.scan_walk import Progress
from tasks.review.checkpoint import Checkpoint
from tasks.review.image_storage import Bucket, MediaFolder, Store
from tasks.review.selection import Send, View, fingerprint, keep_first
from tasks.review.task_metadata import TaskMetadata, make_view_key
from tasks.review.upload import CHUNK, Uploader, retry_while_away
from tasks.review.views import ClassifiedViews, DetectedViews, ViewSelector
from tasks.sources.discover import Skipped
from tasks.sources.scan_source import SourceOptions

TILE = 1024  # px a side of the tiles that a larger image is cut into


@dataclass(frozen=True)
class Options:
    """What the command line asked for.

    Attributes:
        send: Which pictures become tasks, see `select_for_review`.
        limit: How many tasks at most.
        tile: The side of the tiles that a larger image is cut into, px.
        overlap: Of the detector's windows, px; None for its own.
        how: How the source is read.
        executor: Where the detector runs.
        store: The URL of a `Bucket` for the pictures; None for the media folder.
        int8: Detect with the version's INT8 form, or without; None: where one was accepted.
        skip_empty: See `ScanDetector`.
        goal: What the project's queue serves from now on; None leaves it as it is. To count,
            every tile is sent, once.
    """

    send: Send = "review"
    limit: int | None = None
    tile: int = TILE
    overlap: int | None = None
    how: SourceOptions = field(default_factory=SourceOptions)
    executor: Literal["local", "ray"] = "local"
    store: str | None = None
    int8: bool | None = None
    skip_empty: bool = False
    goal: Goal | None = None


class Summary(TypedDict):
    """What came of a scan: the `--json` of `cytoloop scan`.

    Attributes:
        scan: The name of the source.
        project: The project's number in Label Studio.
        tiles: How many planes were read.
        seconds: How long it took.
        tiles_per_second: Both of these.
        detections: How many objects were found; None where tiles were classified.
        classes: How many objects, or tiles, of each class that occurs.
        emptied: Windows skipped as empty, run all the same, and of those with an object.
        sent: How many new tasks there are.
        known: How many tasks the project held already.
        skipped: What could not be used, and why.
        model: The version that detected.
        notes: What else the user should know, a line each.
    """

    scan: str
    project: int
    tiles: int
    seconds: float
    tiles_per_second: float
    detections: int | None
    classes: dict[str, int]
    emptied: dict[str, int]
    sent: int
    known: int
    skipped: list[Skipped]
    model: str
    notes: list[str]


class ScanFailed(RuntimeError):
    """One line that says what is in the way."""


def scan(
    source: Path, project: int, settings: Settings, options: Options, progress: Progress
) -> Summary:
    """Detect in all of a source and send what deserves a person's eye to a project.

    The project must be connected to this data folder, and its Label Studio must serve the
    data folder's media, or show what lies in `options.store`. Stopped at any point and started
    again, it goes on where it was.

    Args:
        source: A file or a folder.
        project: The project's number in Label Studio.
        settings: Of the data folder.
        options: What the command line asked for.
        progress: Called with (done, all) files.

    Raises:
        ScanFailed, NotConnected, FileNotFoundError, ValueError, OSError: What is in the way, in
            one line.
        StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
    """
    started = time.perf_counter()
    projects = Projects(settings.projects_database)
    connected = projects.get(project)
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    if options.goal is not None:
        projects.choose_goal(project, options.goal)
    counting = projects.get_goal(project) == "count"
    if counting and options.limit is not None:
        raise ScanFailed(
            f"project {project} counts, so every tile has to be sent: leave out --limit, and "
            "review as many tiles as you like"
        )
    registry = Registry.open(settings)
    # Label Studio answers while the detector loads.
    with ThreadPoolExecutor(1, thread_name_prefix="ask") as pool:
        asked = pool.submit(_prepare_studio, connected, settings, options)
        serving = ModelCache(settings, registry)
        preannotator, folder = _choose_preannotator(connected, serving, registry, options)
        studio, label_config, store = asked.result()
    card = preannotator.model.card
    options = replace(options, int8=is_int8(folder))
    with _open_checkpoint(source, settings, project, preannotator, options) as checkpoint:
        views = _open_views(source, preannotator.model, folder, options, checkpoint, progress)
        scans = views.walk
        task_metadata = TaskMetadata(
            settings,
            options.how.pixel_size,
            options.tile,
            ScanDivider(lambda: retry_while_away(lambda: _read_task_data(studio, project))),
            counting,
        )
        uploader = Uploader(
            studio,
            project,
            label_config,
            preannotator,
            store,
            checkpoint,
            make_view_key,
            task_metadata.make_task_data,
            lambda: serving.open_queue(projects, project, preannotator.version),
        )
        chosen = views.select("tiles" if counting else options.send, options.tile)
        if counting:
            chosen = _refuse_planes(chosen)
        if options.limit is not None:
            strategy = serving.choose_strategy(projects, project)

            def score(pictures: Sequence[View]) -> np.ndarray:
                candidates = [
                    Candidate(make_view_key(view), preannotator.list_answers(view.prediction))
                    for view in pictures
                ]
                return strategy.score(candidates, preannotator.context)

            chosen = iter(keep_first(list(chosen), score, options.limit))
        with _run_in_background(uploader.start, uploader.send) as hand_over:
            for batch in make_batches(chosen, CHUNK):
                hand_over(batch)
        if uploader.outcome.sent:
            retry_while_away(lambda: studio.set_model_version(project, preannotator.version))
    scans.skipped.extend(
        {"source": name, "reason": reason} for name, reason in uploader.outcome.unread
    )
    seconds = time.perf_counter() - started
    return {
        "scan": source.resolve().name,
        "project": project,
        "tiles": scans.tiles,
        "seconds": round(seconds, 3),
        "tiles_per_second": round(scans.tiles / seconds, 2),
        "detections": views.counts.total() if finds_objects(preannotator.model) else None,
        "classes": {name: views.counts[name] for name in card.classes if views.counts[name]},
        "emptied": asdict(scans.emptied),
        "sent": uploader.outcome.sent,
        "known": uploader.outcome.known,
        "skipped": scans.skipped,
        "model": preannotator.version,
        "notes": scans.notes,
    }


def _open_views(
    source: Path,
    model: Model,
    folder: Path,
    options: Options,
    checkpoint: Checkpoint,
    progress: Progress,
) -> ViewSelector:
    """Open a source for a model, whose files are in the folder."""
    if not finds_objects(model):
        classifier = ScanClassifier(
            source,
            model,
            options.how,
            most=options.tile,
            memory=checkpoint,
            progress=progress,
        )
        return ClassifiedViews(classifier, model.card)
    detector = ScanDetector(
        source,
        model,
        options.how,
        overlap=options.overlap,
        memory=checkpoint,
        cluster=folder if options.executor == "ray" else None,
        skip_empty=options.skip_empty,
        progress=progress,
    )
    if is_int8(folder):
        from tasks.detection.quantize import describe_agreement

        detector.notes.append(describe_agreement(folder))
    return DetectedViews(detector, model.card)


def _refuse_planes(chosen: Iterable[View]) -> Iterator[View]:
    """Pass pictures on that are to be counted; of a stack, each cell is on several planes."""
    for view in chosen:
        if view.mosaic.depth == "each" and view.mosaic.planes > 1:
            raise ScanFailed(
                f"{view.mosaic.name} has {view.mosaic.planes} planes, and a cell that shows on "
                "several of them would count as often: use --z max or --z focus"
            )
        yield view


def _choose_preannotator(
    connected: Project, serving: ModelCache, registry: Registry, options: Options
) -> tuple[PreAnnotator, Path]:
    """Return what detects and draws, and the folder of its files."""
    preannotator = serving.get_preannotator(connected)
    if preannotator is None:
        raise ScanFailed(
            f"no model knows the labels of project {connected.id}; correct some tasks and train one"
        )
    if not finds_objects(preannotator.model):
        refuse_detector_options(
            overlap=options.overlap is not None,
            int8=bool(options.int8),
            skip_empty=options.skip_empty,
            executor=options.executor == "ray",
        )
    folder = find_form(preannotator.version, registry, options.int8)
    if is_int8(folder):
        preannotator = replace(preannotator, model=load_detector(folder))
    return preannotator, folder


def _prepare_studio(
    connected: Project, settings: Settings, options: Options
) -> tuple[Studio, str, Store]:
    """Return Label Studio, the project's labels there, and a store whose pictures it shows."""
    studio = Studio(connected.url, connected.token)
    label_config = studio.get_project(connected.id).label_config
    if options.store is None:
        _serve_media(studio, connected.id, settings.media)
        return studio, label_config, MediaFolder(settings.media)
    store = Bucket(options.store)
    images = ImageSource(connected.url, connected.token, project=connected.id)
    _try_out(store, images, connected.id)
    return studio, label_config, store


def _read_task_data(studio: Studio, project: int) -> list[dict[str, Any]]:
    return [task["data"] for task in studio.list_tasks(project, full=False)]


def _serve_media(studio: Studio, project: int, media: Path) -> None:
    folder = media / str(project)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        studio.add_media_folder(project, folder)
    except StudioFault as error:
        raise ScanFailed(
            f"Label Studio at {studio.url} does not serve {folder}: start it with `cytoloop up`, "
            "or where it runs elsewhere let its LOCAL_FILES_DOCUMENT_ROOT be the folder "
            f"{media} and set LOCAL_FILES_SERVING_ENABLED=true there ({error})"
        ) from error


def _try_out(store: Bucket, images: ImageSource, project: int) -> None:
    """Check that a picture in the store can be fetched as Label Studio fetches it."""
    name, picture = f"{project}/cytoloop.png", encode_png(np.zeros((8, 8, 3), np.uint8))
    store.write(name, picture)
    address = store.make_address(name)
    ((_, found),) = images.fetch([address])
    if found != picture:
        why = found if isinstance(found, Exception) else "it shows something else there"
        raise ScanFailed(
            f"Label Studio does not show {address}: add the bucket to the project under "
            f"Settings > Cloud Storage, as docs/scans.md says ({why})"
        )


@contextmanager
def _open_checkpoint(
    source: Path, settings: Settings, project: int, preannotator: PreAnnotator, options: Options
) -> Iterator[Checkpoint]:
    """Open the checkpoint of this source, detector and options."""
    how = [
        # By this name scans that were stopped earlier are found again.
        str(options.how).replace("SourceOptions", "How", 1),
        str(options.overlap),
        *(["int8"] if options.int8 else []),
        *(["skip empty"] * options.skip_empty),
        *([] if finds_objects(preannotator.model) else [f"tile {options.tile}"]),
    ]
    name = fingerprint([str(source.resolve()), preannotator.version, *how])
    path = settings.data_dir / "scans" / f"{project}-{name}.sqlite"
    try:
        with closing(Checkpoint(path)) as checkpoint:
            yield checkpoint
    except sqlite3.Error as error:
        if "disk is full" in str(error):
            raise DiskFull(path) from error
        raise OSError(f"{path} cannot be written ({error})") from error


@contextmanager
def _run_in_background(
    first: Callable[[], None], act: Callable[[Any], None]
) -> Iterator[Callable[[Any], None]]:
    """Let another thread work while the block runs.

    Args:
        first: Called in that thread at first.
        act: Then called there with each thing that is handed over, in turn.

    Yields:
        The function that hands a thing over. Two wait at most: with a third it waits itself.

    Raises:
        Exception: What `first` or `act` raised; it ends the block.
    """
    waiting: queue.Queue[Any] = queue.Queue(2)
    failed: list[BaseException] = []
    end = object()

    def work() -> None:
        def guarded(step: Callable[..., None], *things: Any) -> None:
            if not failed:
                try:
                    step(*things)
                except BaseException as error:
                    failed.append(error)

        guarded(first)
        while (thing := waiting.get()) is not end:
            guarded(act, thing)

    def hand_over(thing: Any) -> None:
        if failed:
            raise failed[0]
        waiting.put(thing)

    thread = threading.Thread(target=work, name="send", daemon=True)
    thread.start()
    try:
        yield hand_over
        waiting.put(end)
        thread.join()
    except BaseException:
        failed.append(KeyboardInterrupt())  # what waits is not sent any more
        with suppress(queue.Full):  # it may be waiting for Label Studio; nobody waits for it
            waiting.put_nowait(end)
        raise
    if failed:
        raise failed[0]
