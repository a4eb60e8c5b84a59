"""`cytoloop scan`: from a microscope's output to review tasks in a project."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
from ml_backend.learners.kinds import load_detector, require_detector
from ml_backend.registry.resolve import find_int8
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import ModelCache
from ml_backend.serving.preannotation import PreAnnotator
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.atomic_files import DiskFull
from ml_backend.system.batching import chunks
from tasks.detection.scan_detector import Progress, ScanDetector
from tasks.review.checkpoint import Ledger
from tasks.review.image_storage import Bucket, Folder, Store
from tasks.review.selection import Send, View, fingerprint, keep_first, to_review
from tasks.review.task_metadata import Provenance, key_of, name_of
from tasks.review.upload import CHUNK, Sender, patiently
from tasks.sources.discover import Skipped
from tasks.sources.scan_source import SourceOptions

TILE = 1024  # px a side of the tiles that a larger image is cut into


@dataclass(frozen=True)
class Options:
    """What the command line asked for. limit: tasks at most; store: as of `Bucket`, where
    pictures are not laid into the media folder; int8: detect with the version's INT8 form;
    skip_empty: see `ScanDetector`."""

    send: Send = "review"
    limit: int | None = None
    tile: int = TILE
    overlap: int | None = None
    how: SourceOptions = field(default_factory=SourceOptions)
    executor: Literal["local", "ray"] = "local"
    store: str | None = None
    int8: bool = False
    skip_empty: bool = False


class Summary(TypedDict):
    """tiles: planes that were read. detections: objects. emptied: windows skipped as empty, run
    all the same, and of those with an object. sent: new tasks; known: those that the project
    held already."""

    scan: str
    project: int
    tiles: int
    seconds: float
    tiles_per_second: float
    detections: int
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
    again, it goes on where it was. progress: called with (done, all) files.

    Raises ScanFailed, NotConnected, FileNotFoundError, ValueError, OSError and the errors of
    `Studio`, each in one line.
    """
    started = time.perf_counter()
    projects = Projects(settings.projects_database)
    connected = projects.get(project)
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    registry = Registry(settings.versions, settings.champions)
    # Label Studio answers while the detector loads.
    with ThreadPoolExecutor(1, thread_name_prefix="ask") as pool:
        asked = pool.submit(_asked, connected, settings, options)
        serving = ModelCache(settings, registry)
        preannotator, folder = _preannotator(connected, serving, registry, options)
        studio, label_config, store = asked.result()
    detector = require_detector(preannotator.model)
    with _remembered(source, settings, project, preannotator, options) as ledger:
        scans = ScanDetector(
            source,
            detector,
            options.how,
            overlap=options.overlap,
            memory=ledger,
            cluster=folder if options.executor == "ray" else None,
            skip_empty=options.skip_empty,
            progress=progress,
        )
        if options.int8:
            from tasks.detection.quantize import describe_agreement

            scans.notes.append(describe_agreement(folder))
        card = detector.card
        provenance = Provenance(
            settings,
            options.how.pixel_size,
            options.tile,
            ScanDivider(lambda: patiently(lambda: _data(studio, project))),
        )
        sender = Sender(
            studio,
            project,
            label_config,
            preannotator,
            store,
            ledger,
            key_of,
            provenance.of,
            lambda: serving.open_queue(projects, project, preannotator.version),
        )
        detections = 0

        def views() -> Iterator[View]:
            nonlocal detections
            for result in scans.detect_scans():
                detections += len(result.objects)
                yield from to_review(
                    result,
                    options.send,
                    most=options.tile,
                    headline=card.headline,
                    threshold=card.threshold,
                    key=name_of,
                )

        chosen = views()
        if options.limit is not None:
            strategy = serving.open_queue(projects, project, preannotator.version).strategy

            def score(pictures: Sequence[View]) -> np.ndarray:
                candidates = [
                    Candidate(key_of(one), preannotator.list_answers(one.prediction))
                    for one in pictures
                ]
                return strategy.score(candidates, preannotator.context)

            chosen = iter(keep_first(list(chosen), score, options.limit))
        with _in_background(sender.start, sender.send) as hand_over:
            for chunk in chunks(chosen, CHUNK):
                hand_over(chunk)
        if sender.outcome.sent:
            patiently(lambda: studio.set_model_version(project, preannotator.version))
    scans.skipped.extend(
        {"source": name, "reason": reason} for name, reason in sender.outcome.unread
    )
    seconds = time.perf_counter() - started
    return {
        "scan": source.resolve().name,
        "project": project,
        "tiles": scans.tiles,
        "seconds": round(seconds, 3),
        "tiles_per_second": round(scans.tiles / seconds, 2),
        "detections": detections,
        "emptied": asdict(scans.emptied),
        "sent": sender.outcome.sent,
        "known": sender.outcome.known,
        "skipped": scans.skipped,
        "model": preannotator.version,
        "notes": scans.notes,
    }


def _preannotator(
    connected: Project, serving: ModelCache, registry: Registry, options: Options
) -> tuple[PreAnnotator, Path]:
    """What detects and draws, and the folder of its files."""
    preannotator = serving.get_preannotator(connected)
    if preannotator is None:
        raise ScanFailed(
            f"no detector draws the labels of project {connected.id}; "
            "correct some tasks and train one"
        )
    folder = registry.get_folder(preannotator.version)
    if options.int8:
        folder = find_int8(preannotator.version, registry)
        preannotator = replace(preannotator, model=load_detector(folder))
    return preannotator, folder


def _asked(connected: Project, settings: Settings, options: Options) -> tuple[Studio, str, Store]:
    """Label Studio, the project's labels there, and where pictures are laid so that it shows
    them."""
    studio = Studio(connected.url, connected.token)
    label_config = studio.get_project(connected.id).label_config
    if options.store is None:
        _serve_media(studio, connected.id, settings.media)
        return studio, label_config, Folder(settings.media)
    store = Bucket(options.store)
    images = ImageSource(connected.url, connected.token, project=connected.id)
    _try_out(store, images, connected.id)
    return studio, label_config, store


def _data(studio: Studio, project: int) -> list[dict[str, Any]]:
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
    """See that a picture laid into the store can be fetched as Label Studio fetches it."""
    name, picture = f"{project}/cytoloop.png", encode_png(np.zeros((8, 8, 3), np.uint8))
    store.write(name, picture)
    address = store.address(name)
    ((_, found),) = images.fetch([address])
    if found != picture:
        why = found if isinstance(found, Exception) else "it shows something else there"
        raise ScanFailed(
            f"Label Studio does not show {address}: add the bucket to the project under "
            f"Settings > Cloud Storage, as docs/scans.md says ({why})"
        )


@contextmanager
def _remembered(
    source: Path, settings: Settings, project: int, preannotator: PreAnnotator, options: Options
) -> Iterator[Ledger]:
    """The ledger of this source, detector and way of looking."""
    how = [
        # By this name scans that were stopped earlier are found again.
        str(options.how).replace("SourceOptions", "How", 1),
        str(options.overlap),
        *(["int8"] * options.int8),
        *(["skip empty"] * options.skip_empty),
    ]
    name = fingerprint([str(source.resolve()), preannotator.version, *how])
    path = settings.data_dir / "scans" / f"{project}-{name}.sqlite"
    try:
        with closing(Ledger(path)) as ledger:
            yield ledger
    except sqlite3.Error as error:
        if "disk is full" in str(error):
            raise DiskFull(path) from error
        raise OSError(f"{path} cannot be written ({error})") from error


@contextmanager
def _in_background(
    first: Callable[[], None], act: Callable[[Any], None]
) -> Iterator[Callable[[Any], None]]:
    """A function that hands things to `act`, which takes them in turn in another thread, after
    `first`.

    Two things wait at most. What `first` and `act` raise ends the block.
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
