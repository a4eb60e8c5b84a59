"""Pictures of a scan as tasks of a project: each once, whatever stops and starts meanwhile.

A task is known by its key, which says what it shows. Before a chunk is sent, Label Studio is
asked for the keys that it holds; a request that failed, or whose sender was killed, may still
be carried out, so what was on its way is waited for before it is sent again. While Label
Studio is away, sending waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import tenacity

from ml_backend.active_learning.queue import Queue
from ml_backend.active_learning.strategies.certainty import measure_certainty
from ml_backend.imaging.decode import decode, encode_png, strip_png
from ml_backend.label_studio.client import Studio, make_prediction_check
from ml_backend.label_studio.session import is_passing
from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.kinds import chooses_for_regions
from ml_backend.serving.preannotation import PreAnnotation, PreAnnotator
from ml_backend.system.retry import retrying, wait_until
from tasks.readers.planes import Rect
from tasks.review.checkpoint import Checkpoint
from tasks.review.image_storage import Store
from tasks.review.selection import View

T = TypeVar("T")

CHUNK = 32  # tasks that are sent with one request; the most that a kill can lose
AWAY = 600.0  # s that Label Studio may be away
LONGEST_WAIT = 30.0  # s between two tries
# s after which a request that was on its way when its sender died is not carried out any
# more: Label Studio creates a chunk in well under a second.
SETTLED = 20.0

log = logging.getLogger(__name__)


@dataclass
class Sent:
    """What came of an upload.

    Attributes:
        sent: How many tasks were made.
        known: How many the project held already.
        unread: (scan, reason) of pictures that could not be made.
    """

    sent: int = 0
    known: int = 0
    unread: list[tuple[str, str]] = field(default_factory=list)


class Uploader:
    """Uploads pictures to one project, as tasks."""

    def __init__(
        self,
        studio: Studio,
        project: int,
        label_config: str,
        preannotator: PreAnnotator,
        store: Store,
        checkpoint: Checkpoint,
        key: Callable[[View], str],
        data: Callable[[View, str], dict[str, Any]],
        queue: Callable[[], Queue],
    ) -> None:
        """Prepare; nothing is read or sent before `start`.

        Args:
            studio: Label Studio.
            project: The project's number there.
            label_config: The project's labelling configuration (XML).
            preannotator: Draws what was detected.
            store: Where pictures are written.
            checkpoint: Remembers what is on its way.
            key: Names a picture.
            data: Makes the fields of a task, without its image, from a picture and its key.
            queue: Asked for whenever tasks are scored, because another strategy may be chosen
                while a long scan runs.
        """
        self._label_config = label_config
        self._studio, self._project, self._preannotator = studio, project, preannotator
        self._store, self._checkpoint = store, checkpoint
        self._key, self._data, self._queue = key, data, queue
        self._held: dict[str, int] = {}
        self._chosen: dict[str, Prediction] = {}  # with what was chosen of its boxes, by picture
        self._last = 0
        self.outcome = Sent()

    @cached_property
    def _find_problems(self) -> Callable[[dict[str, Any]], list[str]]:
        # It takes a second to make: when there is something to send, while others detect.
        return make_prediction_check(self._label_config)

    def start(self) -> None:
        """Learn what the project holds; wait for what an earlier run had on its way."""
        waiting, age = self._checkpoint.list_sending()
        self._wait_for(waiting, SETTLED - age)
        self._checkpoint.mark_arrived()

    def send(self, views: Sequence[View]) -> None:
        """Make tasks of the pictures that the project does not hold.

        Raises:
            OSError: A picture cannot be written.
            ValueError: A pre-annotation does not fit the project's labels.
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answered
                after the last try.
        """
        fresh: dict[str, View] = {}
        for view in views:
            key = self._key(view)
            if key in self._held or key in fresh:
                self.outcome.known += 1
            else:
                fresh[key] = view
        if not fresh:
            return
        names = self._write_pictures(fresh)
        self._deliver(self._make_tasks(fresh, names))

    # Pictures.

    def _write_pictures(self, views: dict[str, View]) -> dict[str, str]:
        """Write the pictures into the store; return their names there by key."""
        names = {key: f"{self._project}/scans/{key}.png" for key in views}
        wanted: dict[tuple[int, int], list[str]] = {}
        for key, view in views.items():
            wanted.setdefault((id(view.mosaic), view.plane), []).append(key)
        with ThreadPoolExecutor(4, thread_name_prefix="picture") as pool:
            for done in pool.map(lambda keys: self._write(keys, views, names), wanted.values()):
                for key, reason in done.items():
                    view = views[key]
                    self.outcome.unread.append((f"{view.mosaic.name} {view.tile.rect}", reason))
                    del names[key]
        return names

    def _write(
        self, keys: list[str], views: dict[str, View], names: dict[str, str]
    ) -> dict[str, str]:
        """Write the pictures of one plane; return the reasons for those that cannot be made."""
        left = []
        for key in keys:
            if (content := _read_whole_file(views[key])) is not None:
                self._store.write(names[key], content)
                self._choose(key, views[key], content)
            else:
                left.append(key)
        if not left:
            return {}
        first, unread = views[keys[0]], set(left)
        rects: list[Rect] = [views[key].tile.rect for key in left]
        for place, pixels in first.mosaic.read_parts(first.plane, rects):
            self._store.write(names[left[place]], encode_png(pixels))
            self._choose(left[place], views[left[place]], pixels)
            unread.discard(left[place])
        return dict.fromkeys(unread, "it cannot be read any more")

    def _choose(self, key: str, view: View, picture: np.ndarray | bytes) -> None:
        """Choose for the boxes of a picture, while its pixels are there."""
        model = self._preannotator.model
        if chooses_for_regions(model):
            pixels = decode(picture) if isinstance(picture, bytes) else picture
            self._chosen[key] = model.choose(Picture(pixels), view.prediction)

    # Tasks.

    def _make_tasks(
        self, views: dict[str, View], names: dict[str, str]
    ) -> dict[str, dict[str, Any]]:
        """Make tasks by key, each with its pre-annotation; blind ones with an empty one."""
        tasks: list[dict[str, Any]] = []
        drawn: list[tuple[int, PreAnnotation]] = []
        threshold = self._preannotator.context.threshold
        for number, (key, name) in enumerate(names.items()):
            view = views[key]
            prediction = self._chosen.pop(key, view.prediction)
            preannotation = self._preannotator.make_preannotation(prediction)
            data = {
                self._preannotator.labels.image_key: self._store.make_address(name),
                **self._data(view, key),
                "certainty": round(measure_certainty(preannotation.answers, threshold), 4),
                "key": key,
            }
            if data["blind"]:
                preannotation = PreAnnotation([], preannotation.version, blind=True)
            tasks.append({"data": data})
            drawn.append((number, preannotation))
        for number, scored in self._preannotator.score_in_queue(tasks, drawn, self._queue()):
            drawing = scored.to_json()
            if problems := self._find_problems(drawing):
                source = tasks[number]["data"]["source"]
                raise ValueError(f"a pre-annotation of {source} is invalid: {problems[0]}")
            tasks[number]["predictions"] = [drawing]
        return {task["data"]["key"]: task for task in tasks}

    def _deliver(self, tasks: dict[str, dict[str, Any]]) -> None:
        """Make those of the tasks, by key, that the project does not hold."""
        for attempt in _make_retry_loop():
            if attempt.retry_state.attempt_number > 1:
                # The request before may have been carried out all the same, or still be.
                self._settle(tasks)
            self._ask()
            missing = {key: task for key, task in tasks.items() if key not in self._held}
            self.outcome.known += len(tasks) - len(missing)
            if not missing:
                break
            tasks = missing
            self._checkpoint.mark_sending(missing)
            with attempt:
                self._studio.import_tasks(self._project, missing.values(), chunk=len(missing))
                self.outcome.sent += len(missing)
        self._checkpoint.mark_arrived()

    def _settle(self, tasks: Iterable[str]) -> None:
        """Wait until a request whose end is unknown has come to an end."""
        self._wait_for(tasks, SETTLED)
        self._last = 0  # once more from the first: ids may come out of order
        self._ask()
        arrived = sum(key in self._held for key in tasks)
        self.outcome.sent += arrived
        self.outcome.known -= arrived  # counted as known when it is looked at again

    def _wait_for(self, keys: Iterable[str], seconds: float) -> None:
        """Ask until the project holds tasks of all these keys, for so many seconds at most."""

        def holds() -> bool:
            self._ask()
            return all(key in self._held for key in keys)

        wait_until(holds, every=1.0, timeout=seconds)

    def _ask(self) -> None:
        """Read the keys of the tasks that came since the last time."""
        retry_while_away(self._read)

    def _read(self) -> None:
        for task in self._studio.list_tasks(self._project, after=self._last, full=False):
            self._last = max(self._last, task["id"])
            if key := task["data"].get("key"):
                self._held[str(key)] = task["id"]


def _read_whole_file(view: View) -> bytes | None:
    """Return the PNG file that holds just this picture; None where it must be put together."""
    file = view.mosaic.find_file(view.plane, view.tile.rect)
    if file is None or file.path.suffix.lower() != ".png":
        return None
    try:
        return strip_png(file.path.read_bytes())
    except OSError:
        return None  # reading its pixels says what is wrong


def retry_while_away(act: Callable[[], T]) -> T:
    """Call `act`, and again while Label Studio is away, for AWAY s.

    Args:
        act: What to do; doing it twice must not matter.

    Returns:
        What `act` returns.

    Raises:
        StudioUnreachable, StudioRefused, ProjectGone, StudioFault: What `act` raised last.
    """
    return _make_retry_loop()(act)


def _make_retry_loop() -> tenacity.Retrying:
    """Make a loop of tries with waits of 1, 2, 4 … s, AWAY in all."""
    waits = [1.0]
    while sum(waits) < AWAY:
        waits.append(min(2 * waits[-1], LONGEST_WAIT))
    return retrying(waits, is_passing, lambda error, wait: log.warning("%s; sending waits", error))
