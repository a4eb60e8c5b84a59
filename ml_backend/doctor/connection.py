"""Checks of the way between a project's Label Studio and us, both ways."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ml_backend import __version__
from ml_backend.doctor.finding import Check, Finding
from ml_backend.doctor.project import Patient
from ml_backend.label_studio import inspection
from ml_backend.label_studio.inspection import is_ours
from ml_backend.label_studio.webhooks import EVENTS, write_basic_authorization
from ml_backend.state.projects import Project
from ml_backend.system.credentials import read_backend_password, read_event_password

# Seconds that clocks may differ: an access token lives for five minutes.
CLOCKS_MAY_DIFFER = 60.0
_DAY = 86_400.0


def check_token(patient: Patient) -> Iterator[Finding]:
    """Look at the access token, without asking the server."""
    project = patient.project
    token = inspection.read_token(project.token)
    again = describe_connect(project)
    if not token.personal:
        yield Finding(
            "warning",
            "the token is a legacy one, which new releases of Label Studio refuse",
            f"make a personal access token under Account & Settings, then {again}",
        )
    elif token.expires is not None and token.expires < time.time():
        ended = time.strftime("%Y-%m-%d", time.gmtime(token.expires))
        yield Finding(
            "error",
            f"the token ended on {ended}",
            f"make a new personal access token under Account & Settings, then {again}",
        )
    elif token.expires is not None and token.expires < time.time() + 14 * _DAY:
        days = (token.expires - time.time()) / _DAY
        yield Finding(
            "warning",
            f"the token ends in {days:.0f} days",
            f"make a new personal access token under Account & Settings, then {again}",
        )
    else:
        yield Finding("ok", "the token is a personal one, and has not ended")


def check_studio(patient: Patient) -> Iterator[Finding]:
    """Ask Label Studio who it is, and for the project."""
    release = inspection.ask_release(patient.studio.session) or "of an unknown release"
    found = patient.found
    yield Finding(
        "ok",
        f"Label Studio {release} at {patient.project.url} answers and takes the token; "
        f"{found.title!r} has {found.tasks} tasks",
    )


def check_clock(patient: Patient) -> Iterator[Finding]:
    """Compare the clocks."""
    ahead = inspection.ask_clock(patient.project.url)
    if ahead is None:
        return
    if abs(ahead) > CLOCKS_MAY_DIFFER:
        side = "ahead of" if ahead > 0 else "behind"
        yield Finding(
            "warning",
            f"Label Studio's clock is {abs(ahead):.0f} s {side} this machine's: tokens are refused "
            "and changes overlooked",
            "set both by the network: timedatectl set-ntp true",
        )
    else:
        yield Finding("ok", "the clocks agree")


def check_backend(patient: Patient) -> Iterator[Finding]:
    """Ask Label Studio how it finds our backend, and the backend itself."""
    project = patient.project
    backends = inspection.list_backends(patient.studio.session, project.id)
    ours = [backend for backend in backends if is_ours(backend)]
    others = [backend.title or backend.url for backend in backends if not is_ours(backend)]
    if others:
        yield Finding(
            "note",
            f"other ML backends are connected too: {', '.join(others)}; the project's version may "
            "change by itself",
            "remove them under Settings, Model, if they are not wanted",
        )
    if patient.projects.is_polled(project.id):
        yield Finding(
            "ok", "connected with --poll: the worker asks Label Studio, which need not reach us"
        )
        return
    if not ours:
        yield Finding(
            "error",
            "no ML backend of ours is connected in Label Studio",
            describe_connect(project),
        )
        return
    backend, url = ours[0], ours[0].url.rstrip("/")
    if block := inspection.find_block(patient.studio.session, project.id, url):
        yield Finding(
            "error",
            f"Label Studio's protection forbids it to talk to {url}: {block}",
            "start Label Studio with ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false, "
            f"or {describe_connect(project)} --poll",
        )
    yield from _ask_backend(patient, url)
    if backend.state == "CO":
        yield Finding("ok", f"Label Studio reaches the backend at {url}")
    elif not block:
        reason = f": {backend.error_message}" if backend.error_message else ""
        yield Finding(
            "error",
            f"Label Studio does not reach the backend at {url} ({backend.readable_state}){reason}",
            "start cytoloop serve; where Label Studio runs elsewhere or in a container, name the "
            f"address that it sees: {describe_connect(project)} --backend-url URL",
        )


def _ask_backend(patient: Patient, url: str) -> Iterator[Finding]:
    settings = patient.settings
    try:
        answer = inspection.ask_backend(url, settings.backend_user, read_backend_password(settings))
    except ConnectionError as error:
        yield Finding(
            "warning",
            f"from here, the backend is not reached: {error}",
            "start cytoloop serve, or cytoloop up; where only Label Studio sees that address, "
            "nothing has to be done",
        )
        return
    if answer.get("model_class") != "cytoloop":
        yield Finding(
            "error",
            f"another ML backend answers at {url}",
            "end it, or serve on another port and name it with cytoloop connect --backend-url",
        )
    elif "release" not in answer:
        yield Finding(
            "error",
            f"the backend at {url} has another password: it serves another data folder",
            f"cytoloop --data-dir {settings.data_dir} serve, in place of the one that runs there",
        )
    elif answer["release"] != __version__:
        yield Finding(
            "warning",
            f"the backend that runs is release {answer['release']}, this is {__version__}",
            "end cytoloop serve or up and start it again",
        )
    else:
        yield Finding("ok", f"the backend at {url} answers, release {__version__}")


def check_webhook(patient: Patient) -> Iterator[Finding]:
    """Look at the webhook that tells us of corrections."""
    project = patient.project
    backends = inspection.list_backends(patient.studio.session, project.id)
    urls = {f"{backend.url.rstrip('/')}/webhook" for backend in backends if is_ours(backend)}
    if not urls or patient.projects.is_polled(project.id):
        return
    again = describe_connect(project)
    hooks = inspection.list_webhooks(patient.studio.session, project.id)
    ours = [hook for hook in hooks if hook.url in urls]
    if not ours:
        yield Finding(
            "warning",
            "the webhook is gone, so corrections are noticed only every "
            f"{patient.settings.reconcile_seconds:.0f} s",
            again,
        )
        return
    hook = ours[0]
    password = read_event_password(patient.settings)
    expected = write_basic_authorization(patient.settings.backend_user, password)
    sent = {str(name).lower(): value for name, value in dict(hook.headers or {}).items()}
    sent_events = set(hook.model_dump(mode="json")["actions"] or [])
    missing = set() if hook.send_for_all_actions else set(EVENTS) - sent_events
    if len(ours) > 1:
        yield Finding("note", f"{len(ours)} webhooks lead to the backend; one is enough", again)
    if hook.is_active is False:
        yield Finding("warning", "the webhook is switched off", again)
    elif sent.get("authorization") == write_basic_authorization(
        patient.settings.backend_user, read_backend_password(patient.settings)
    ):
        yield Finding(
            "warning",
            "the webhook of an earlier release carries the backend's own password, which every "
            "user of Label Studio can read there",
            again,
        )
    elif sent.get("authorization") != expected:
        yield Finding(
            "error",
            "the webhook's header does not carry the backend's password, so every event is "
            "refused with HTTP 401",
            again,
        )
    elif missing:
        yield Finding("warning", f"the webhook does not send {', '.join(sorted(missing))}", again)
    else:
        yield Finding("ok", "the webhook is there, with the password, for all events")


def describe_connect(project: Project) -> str:
    """Write the command that connects a project again."""
    return f"cytoloop connect --url {project.url} --token - --project {project.id}"


# In this order: what follows needs what stands before.
CHECKS = (
    Check("token", check_token),
    Check("Label Studio", check_studio),
    Check("clock", check_clock),
    Check("backend", check_backend),
    Check("webhook", check_webhook),
)
