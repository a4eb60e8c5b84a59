"""Projects, tasks, pre-annotations and annotations of a Label Studio, through its own SDK.

Tasks are the plain dicts of Label Studio's JSON. What fails raises one of the errors of
`session`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from label_studio_sdk.types.prediction_request import PredictionRequest

from ml_backend.label_studio.people import Person, find_person
from ml_backend.label_studio.session import ProjectGone, Session, StudioFault
from ml_backend.system.batching import make_batches

ReportDone = Callable[[int, int], None]

VIEW_TITLE = "Review queue"
# Of the same tab as earlier releases made it.
_FORMER_VIEW_TITLE = "Least certain first"

# How Label Studio hands tasks out: by the score of the version's pre-annotation, the lowest
# first. Every strategy says what comes first by such scores, so this holds for all of them.
SAMPLING = "Uncertainty sampling"

# The server writes one page or chunk inside one request: small enough to answer well
# within a minute on SQLite, large enough that the round trip hardly matters.
PAGE = 500
CHUNK = 500

# Begins the line of a project's description that leads to its page.
_PAGE = "How it learns: "

# Columns of the view that are hidden at first; users can show them again.
_HIDDEN = (
    "inner_id", "annotations_results", "annotations_ids", "predictions_results", "file_upload",
    "storage_filename", "created_at", "updated_at", "updated_by", "avg_lead_time",
    "draft_exists", "cancelled_annotations", "total_predictions",
    "data.sampling_p", "data.sampling_reason", "data.sha256",
)  # fmt: skip


@dataclass(frozen=True)
class StudioProject:
    """A project as the server has it.

    Attributes:
        id: Its number.
        title: Its name.
        label_config: The labeling config, XML.
        model_version: The version whose pre-annotations are shown; "" where none is chosen.
        created: Seconds since 1970. /setup and /predict name a project as f"{id}.{int(created)}".
        tasks: How many it holds.
        annotations: How many were submitted or skipped.
    """

    id: int
    title: str
    label_config: str
    model_version: str
    created: float
    tasks: int
    annotations: int = 0


def make_prediction_check(label_config: str) -> Callable[[dict[str, Any]], list[str]]:
    """Make the check of pre-annotations against a labeling config.

    Args:
        label_config: The labeling config, XML.

    Returns:
        A function from a pre-annotation, as the JSON that Label Studio imports, to what is wrong
        with it: an empty list where nothing is.
    """
    # It takes a second to import, and only who writes pre-annotations needs it.
    from label_studio_sdk.label_interface import LabelInterface

    return partial(LabelInterface(label_config).validate_prediction, return_errors=True)


class Studio:
    """A Label Studio server, as one of its users; safe to share among threads.

    Args:
        url: Where the server answers.
        token: A personal access token, or a legacy one where the organization still allows them.
        timeout: Of a request, seconds.
        patient: Try again after passing faults, for some 15 s.

    Attributes:
        url: The same, without a slash at its end.
        session: What the requests go through.
    """

    def __init__(
        self, url: str, token: str, *, timeout: float = 60.0, patient: bool = True
    ) -> None:
        self.url = url.rstrip("/")
        self.session = Session(self.url, token, timeout, patient=patient)

    def get_person(self) -> Person:
        """Return the user whose token this is."""
        return find_person(self.session)

    # Projects.

    def list_projects(self) -> list[StudioProject]:
        """List all projects that this user sees."""
        found: list[StudioProject] = []
        for page in count(1):
            answer = self.session.call(self.session.sdk.projects.list, page=page, page_size=100)
            found += [_read_project(project) for project in answer.items or []]
            if len(answer.items or []) < 100:
                break
        return found

    def get_project(self, project: int) -> StudioProject:
        """Read one project.

        Raises:
            ProjectGone: There is no such project (any more).
        """
        return _read_project(self.session.call(self.session.sdk.projects.get, project))

    def create_project(
        self, title: str, label_config: str, description: str = "", instructions: str = ""
    ) -> StudioProject:
        """Create a project that shows pre-annotations and offers the lowest score first.

        Args:
            title: At least 3 characters.
            label_config: The labeling config, XML.
            description: In plain text.
            instructions: HTML, shown before labelling.

        Raises:
            StudioFault: The labeling config is not valid.
        """
        made = self.session.call(
            self.session.sdk.projects.create,
            title=title,
            label_config=label_config,
            description=description,
            expert_instruction=instructions,
            show_instruction=bool(instructions),
            sampling=SAMPLING,
            show_collab_predictions=True,
            again=False,
        )
        return _read_project(made)

    def show_predictions(self, project: int) -> None:
        """Let an existing project show pre-annotations and offer the lowest score first."""
        self.session.call(
            self.session.sdk.projects.update,
            project,
            sampling=SAMPLING,
            show_collab_predictions=True,
        )

    def set_annotations(self, project: int, number: int) -> None:
        """Choose how many people are to annotate each task; its screens do not offer that.

        Args:
            project: The project's id.
            number: From 1.
        """
        self.session.call(self.session.sdk.projects.update, project, maximum_annotations=number)

    def set_model_version(self, project: int, version: str) -> bool:
        """Choose the version whose pre-annotations and scores are shown.

        Returns:
            False where the project has no pre-annotation of that version yet: the server refuses a
            version that it has never seen.
        """
        if self.get_project(project).model_version == version:
            return True  # every change is an event that comes back to the backend
        try:
            self.session.call(self.session.sdk.projects.update, project, model_version=version)
        except StudioFault as fault:
            if "model_version" in str(fault):
                return False
            raise
        return True

    def link_page(self, project: int, address: str | None) -> None:
        """Name the address of a project's page in its description; what else stands there stays.

        Args:
            project: The project's id.
            address: Of the page, as a browser reaches it; None takes an earlier one away.
        """
        found = self.session.call(self.session.sdk.projects.get, project)
        lines = (found.description or "").splitlines()
        kept = [line for line in lines if not line.startswith(_PAGE)]
        described = "\n".join([*kept, f"{_PAGE}{address}"] if address else kept)
        if described != (found.description or ""):  # every change is an event that comes back to us
            self.session.call(self.session.sdk.projects.update, project, description=described)

    def add_media_folder(self, project: int, folder: Path) -> None:
        """Let the project's users see the images under `folder`, a folder of the server."""
        local, path = self.session.sdk.import_storage.local, str(folder.absolute())
        if path not in {known.path for known in self.session.call(local.list, project=project)}:
            self.session.call(
                local.create, project=project, path=path, use_blob_urls=True, title=folder.name
            )

    def show_tasks(self, project: int, title: str, tasks: Sequence[int]) -> None:
        """Let a Data Manager tab of that title show these tasks alone, in place of an earlier one.

        Args:
            project: The project's id.
            title: Of the tab.
            tasks: Their ids; the tab goes away where there are none.
        """
        for view in self.session.call(self.session.sdk.views.list, project=project):
            if (_json(view).get("data") or {}).get("title") == title:
                self.session.call(self.session.sdk.views.delete, str(view.id))
        if not tasks:
            return
        items = [_filter("id", "equal", task, "Number") for task in tasks]
        data = {
            "title": title,
            "type": "list",
            "target": "tasks",
            "filters": {"conjunction": "or", "items": items},
        }
        self.session.call(self.session.sdk.views.create, project=project, data=data, again=False)

    def ensure_view(self, project: int) -> None:
        """Create a Data Manager tab with the scores, the lowest first; an existing one stays."""
        self._ensure_view(
            project, VIEW_TITLE, _FORMER_VIEW_TITLE, ordering=["tasks:predictions_score"]
        )

    def ensure_view_of(self, project: int, title: str, tasks: Sequence[int]) -> int:
        """Create a Data Manager tab of these tasks alone; an existing one of that title stays.

        Returns:
            The tab's id, which an address names as `?tab=`.
        """
        items = [_filter("id", "equal", task, "Number") for task in tasks]
        filters = {"conjunction": "or", "items": items}
        return self._ensure_view(project, title, ordering=["tasks:id"], filters=filters)

    def _ensure_view(self, project: int, title: str, *others: str, **settings: Any) -> int:
        for view in self.session.call(self.session.sdk.views.list, project=project):
            if (_json(view).get("data") or {}).get("title") in (title, *others):
                return int(view.id)
        hidden = [f"tasks:{name}" for name in _HIDDEN]
        data = {
            "title": title,
            "type": "list",
            "target": "tasks",
            "hiddenColumns": {"explore": hidden, "labeling": hidden},
            **settings,
        }
        made = self.session.call(
            self.session.sdk.views.create, project=project, data=data, again=False
        )
        return int(made.id)

    # Tasks.

    def import_tasks(
        self,
        project: int,
        tasks: Iterable[dict[str, Any]],
        *,
        chunk: int = CHUNK,
        progress: ReportDone = lambda done, total: None,
    ) -> list[int]:
        """Create tasks.

        Tasks imported before a fault stay. A request is not sent twice, because the server may have
        carried it out and only failed to answer.

        Args:
            project: The project's id.
            tasks: Each {"data": …}.
            chunk: Tasks in a request.
            progress: Called with how many are done, and of how many.

        Returns:
            The ids, in order.

        Raises:
            StudioFault: The server refuses them.
        """
        waiting = list(tasks)
        ids: list[int] = []
        for part in make_batches(waiting, chunk):
            answer = self.session.call(
                self.session.sdk.projects.import_tasks,
                project,
                request=part,
                return_task_ids=True,
                again=False,
            )
            ids += _json(answer).get("task_ids") or []
            progress(len(ids), len(waiting))
        return ids

    def list_tasks(
        self,
        project: int,
        *,
        ids: Sequence[int] | None = None,
        only: Sequence[dict[str, Any]] = (),
        full: bool = True,
        after: int = 0,
        page: int = PAGE,
    ) -> Iterator[dict[str, Any]]:
        """List the project's tasks in the order of their ids, read page by page on demand.

        A page starts after the last id seen, so tasks deleted meanwhile shift nothing. Image
        addresses are as stored, never resolved.

        Args:
            project: The project's id.
            ids: These alone.
            only: Filters of the Data Manager.
            full: With annotations, pre-annotations and this user's drafts (about 2.4 ms a task on
                SQLite), else without them (1.3 ms).
            after: Only tasks with a greater id.
            page: Tasks in a request.
        """
        if ids is not None:
            for part in make_batches(sorted(ids), page):
                yield from self._page(project, only, part, 0, full, len(part))
            return
        last = after
        while True:
            got = self._page(project, only, None, last, full, page)
            yield from got
            if len(got) < page:
                return
            last = got[-1]["id"]

    def _page(
        self,
        project: int,
        only: Sequence[dict[str, Any]],
        ids: Sequence[int] | None,
        after: int,
        full: bool,
        size: int,
    ) -> list[dict[str, Any]]:
        items = [*only]
        if after:
            items.append(_filter("id", "greater", after, "Number"))
        query: dict[str, Any] = {"ordering": ["tasks:id"]}
        if items:
            query["filters"] = {"conjunction": "and", "items": items}
        if ids is not None:
            query["selectedItems"] = {"all": False, "included": list(ids)}
        answer = self.session.call(
            self.session.sdk.tasks.list,
            project=project,
            fields="all" if full else "task_only",
            page=1,
            page_size=size,
            resolve_uri=False,
            query=json.dumps(query),
        )
        return [_json(task) for task in answer.items or []]

    def list_changed_tasks(self, project: int, after: str | None) -> Iterator[dict[str, Any]]:
        """List the tasks that were made or annotated since a moment, with all that they hold.

        Args:
            project: The project's id.
            after: The moment in UTC, as "2026-01-31T12:00:00.000000Z"; None for all tasks.
        """
        only = [_filter("updated_at", "greater", after, "Datetime")] if after else []
        return self.list_tasks(project, only=only)

    def list_annotated_tasks(self, project: int) -> Iterator[dict[str, Any]]:
        """List the tasks with a submitted annotation, with their annotations."""
        return self.list_tasks(project, only=[_filter("total_annotations", "greater", 0, "Number")])

    def list_annotated_or_skipped_tasks(self, project: int) -> Iterator[dict[str, Any]]:
        """List the tasks that somebody submitted or skipped, with what they submitted."""
        submitted = _filter("total_annotations", "greater", 0, "Number")
        skipped = _filter("cancelled_annotations", "greater", 0, "Number")
        yield from self.list_tasks(project, only=[submitted])
        only = [_filter("total_annotations", "equal", 0, "Number"), skipped]
        yield from self.list_tasks(project, only=only)

    def list_untouched_tasks(
        self,
        project: int,
        *,
        without: str | None = None,
        having: str | None = None,
        several: bool = False,
        ids: Sequence[int] | None = None,
        full: bool = False,
        after: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """List the tasks that nobody annotated, skipped or has a draft of, whichever user.

        The server does not tell that somebody has a task open without having saved anything.

        Args:
            project: The project's id.
            without: Only tasks that have no pre-annotation of this version yet.
            having: Only tasks that have one of this version.
            several: Only tasks with more than one pre-annotation.
            ids: These alone.
            full: See `list_tasks`.
            after: See `list_tasks`.
        """
        only = _untouched(without)
        if having is not None:
            only.append(_having(having))
        if several:
            only.append(_filter("total_predictions", "greater", 1, "Number"))
        return self.list_tasks(project, only=only, ids=ids, full=full, after=after)

    def count_untouched(self, project: int, *, without: str | None = None) -> int:
        """Count the tasks that `list_untouched_tasks` would list, with one quick request."""
        return self._count(project, _untouched(without))

    def count_annotated(self, project: int, *, split: str | None = None) -> int:
        """Count the tasks with a submitted annotation, with one quick request.

        Args:
            project: The project's id.
            split: Only tasks with this value of the field `split`.
        """
        only = [_filter("total_annotations", "greater", 0, "Number")]
        if split is not None:
            only.append(_filter("data.split", "equal", split, "String"))
        return self._count(project, only)

    def count_drawn(self, project: int, version: str) -> int:
        """Count the tasks that hold a pre-annotation of a version, with one quick request."""
        return self._count(project, [_having(version)])

    def _count(self, project: int, only: Sequence[dict[str, Any]]) -> int:
        query = {"filters": {"conjunction": "and", "items": list(only)}}
        answer = self.session.call(
            self.session.sdk.tasks.list,
            project=project,
            page=1,
            page_size=1,
            resolve_uri=False,
            query=json.dumps(query),
        )
        return int(_json(answer.response).get("total", 0))

    # Pre-annotations and annotations.

    def import_predictions(
        self,
        project: int,
        label_config: str,
        predictions: Iterable[tuple[int, str, float, list[dict[str, Any]]]],
        *,
        chunk: int = CHUNK,
        progress: ReportDone = lambda done, total: None,
    ) -> list[tuple[int, str]]:
        """Store pre-annotations.

        Each is checked against the labeling config first, and an invalid one alone is left out: on
        some ways in the server checks nothing, which breaks the editor, on others one that is
        invalid fails all, and on this one it drops what it finds invalid and answers 201. A request
        is not sent twice, see `import_tasks`.

        Args:
            project: The project's id.
            label_config: Its labeling config, XML.
            predictions: (task id, version, score, result) each.
            chunk: Pre-annotations in a request.
            progress: Called with how many are done, and of how many.

        Returns:
            The tasks whose pre-annotation is invalid, each with the reason.

        Raises:
            StudioFault: The server did not store all of them.
        """
        find_problems = make_prediction_check(label_config)
        waiting = list(predictions)
        invalid: list[tuple[int, str]] = []
        done = 0
        for part in make_batches(waiting, chunk):
            request = []
            for task, version, score, result in part:
                prediction = PredictionRequest(
                    task=task, model_version=version, score=score, result=result
                )
                if problems := find_problems(_json(prediction)):
                    reason = f"its pre-annotation does not fit the labels: {problems[0]}"
                    invalid.append((task, reason))
                else:
                    request.append(prediction)
            if request:
                self._send_predictions(project, request)
            done += len(part)
            progress(done, len(waiting))
        return invalid

    def _send_predictions(self, project: int, request: list[PredictionRequest]) -> None:
        answer = self.session.call(
            self.session.sdk.projects.import_predictions, project, request=request, again=False
        )
        created = _json(answer).get("created")
        if created != len(request):
            raise StudioFault(
                f"{self.session.what} stored {created} of {len(request)} pre-annotations"
            )

    def delete_predictions(self, ids: Iterable[int]) -> None:
        """Delete pre-annotations by id, about 65 ms each on SQLite; those gone already are skipped.

        Delete none that somebody may have open: the server refuses an annotation whose
        pre-annotation is gone ('Invalid pk'), and the work on it is lost.
        """
        for prediction in ids:
            try:
                self.session.call(self.session.sdk.predictions.delete, prediction)
            except ProjectGone:
                continue

    def set_score(self, prediction: int, score: float) -> None:
        """Change the score of a pre-annotation in place; one that is gone already is skipped.

        It keeps its id, so whoever has its task open can still submit.
        """
        with suppress(ProjectGone):
            self.session.call(self.session.sdk.predictions.update, prediction, score=score)

    def update_data(self, task: int, data: dict[str, Any]) -> None:
        """Replace a task's data; one that is gone already is skipped."""
        with suppress(ProjectGone):
            self.session.call(self.session.sdk.tasks.update, str(task), data=data)

    def retrieve_predictions(self, project: int, tasks: Sequence[int]) -> None:
        """Do what Retrieve predictions in the Data Manager does: the server asks the backend.

        Returns when all are done; the server waits up to 100 s for its backend.
        """
        self.session.call(
            self.session.sdk.actions.create,
            id="retrieve_tasks_predictions",
            project=project,
            selected_items={"all": False, "included": list(tasks)},
            request_options={"timeout_in_seconds": 150},
            again=False,
        )

    def edit_annotation(
        self,
        annotation: int,
        edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    ) -> None:
        """Edit a submitted annotation as it is now; nothing is sent where nothing changes.

        Args:
            annotation: Its id.
            edit: From its `result` to the new one.

        Raises:
            ProjectGone: There is no such annotation (any more).
        """
        held = self.session.call(self.session.sdk.annotations.get, annotation)
        result = _json(held).get("result") or []
        edited = edit(result)
        if edited != result:
            self.session.call(self.session.sdk.annotations.update, annotation, result=edited)

    def wait_for_annotators(self, task: dict[str, Any], annotators: int) -> None:
        """Let a task wait for so many annotators, so that the queue offers it to one more.

        Args:
            task: As `list_tasks` gives it.
            annotators: How many; a task that waits for as many already is left alone.
        """
        if int(task.get("overlap") or 1) >= annotators:
            return
        with suppress(ProjectGone):
            self.session.call(
                self.session.sdk.tasks.update, task["id"], overlap=annotators, is_labeled=False
            )

    def list_annotators(self) -> dict[str, str]:
        """By the number of each user, as annotations name them, the e-mail address."""
        users = self.session.call(self.session.sdk.users.list)
        return {str(user.id): user.email or str(user.id) for user in users}

    def submit_annotation(
        self,
        task: int,
        result: list[dict[str, Any]],
        *,
        parent_prediction: int | None = None,
        seconds: float = 1.0,
        completed_by: int | None = None,
    ) -> int:
        """Submit an annotation.

        Args:
            task: The task's id.
            result: The regions, as Label Studio writes them.
            parent_prediction: The pre-annotation that it started from.
            seconds: The time spent on it.
            completed_by: Who made it, by the number of the user; this user where None.

        Returns:
            The annotation's id.
        """
        fields = {"parent_prediction": parent_prediction, "completed_by": completed_by}
        given = {name: value for name, value in fields.items() if value is not None}
        made = self.session.call(
            self.session.sdk.annotations.create,
            task,
            result=result,
            lead_time=seconds,
            **given,
            again=False,
        )
        assert made.id is not None
        return made.id

    def delete_annotation(self, annotation: int) -> None:
        """Delete an annotation; one that is gone already is skipped."""
        with suppress(ProjectGone):
            self.session.call(self.session.sdk.annotations.delete, annotation)


def _filter(column: str, operator: str, value: Any, kind: str) -> dict[str, Any]:
    return {
        "filter": f"filter:tasks:{column}",
        "operator": operator,
        "value": value,
        "type": kind,
    }


def _having(version: str) -> dict[str, Any]:
    return _filter("predictions_model_versions", "contains", [version], "List")


def _untouched(without: str | None) -> list[dict[str, Any]]:
    only = [
        _filter("total_annotations", "equal", 0, "Number"),
        _filter("cancelled_annotations", "equal", 0, "Number"),
        _filter("draft_exists", "equal", False, "Boolean"),
    ]
    if without is not None:
        only.append(_filter("predictions_model_versions", "not_contains", [without], "List"))
    return only


def _read_project(project: Any) -> StudioProject:
    return StudioProject(
        id=int(project.id),
        title=project.title or "",
        label_config=project.label_config or "",
        model_version=project.model_version or "",
        created=project.created_at.timestamp(),
        tasks=int(getattr(project, "task_number", 0) or 0),
        annotations=sum(
            int(getattr(project, name, 0) or 0)
            for name in ("total_annotations_number", "skipped_annotations_number")
        ),
    )


def _json(model: Any) -> dict[str, Any]:
    """Turn an SDK object into the JSON that it came from."""
    return model.model_dump(mode="json", by_alias=True)
