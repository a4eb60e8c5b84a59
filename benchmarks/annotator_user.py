"""Who annotators_load.py lets locust play: annotators in Label Studio, and probes of both servers.

An annotator does what the labeling screen does in *Label All Tasks*: asks for the next task, loads
its image, and after some time submits regions, or skips it. What the regions are, and the sessions
of the annotators, are in the file that ANNOTATORS_LOAD names.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant_pacing, task

LOAD = json.loads(Path(os.environ["ANNOTATORS_LOAD"]).read_text())
SESSIONS = iter(LOAD["sessions"])
SKIPPED = 0.04  # of the tasks: out of focus, or nothing that can be told
SPREAD = 0.5  # of the logarithm of the times for a task


class Annotator(FastHttpUser):
    """One person with an account and a pace of their own."""

    host = LOAD["studio"]
    network_timeout = connection_timeout = 600.0  # a browser waits, too

    def on_start(self) -> None:
        """Log in, and begin some time after the others."""
        cookies = next(SESSIONS)
        self.default_headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "X-CSRFToken": cookies["csrftoken"],
        }
        gevent.sleep(random.uniform(0, LOAD["pace"]))

    @task
    def review(self) -> None:
        """Open the next task, look at it, and submit or skip it."""
        project, began = LOAD["project"], time.time()
        with self.client.get(
            f"/api/projects/{project}/next/",
            name="next task",
            headers=self.default_headers,
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.text and answer.text[:100]}")
                gevent.sleep(LOAD["pace"])
                return
            opened: dict[str, Any] = answer.json()
        self.client.get(opened["data"]["image"], name="image", headers=self.default_headers)
        mean = math.log(LOAD["pace"]) - SPREAD**2 / 2
        gevent.sleep(random.lognormvariate(mean, SPREAD))
        shown = opened.get("predictions") or [{"id": None}]
        skips = random.random() < SKIPPED
        self.client.post(
            f"/api/tasks/{opened['id']}/annotations?project={project}",
            name="skip" if skips else "submit",
            headers=self.default_headers,
            json={
                "result": [] if skips else LOAD["truth"][opened["data"]["source"]],
                "was_cancelled": skips,
                "lead_time": time.time() - began,
                "parent_prediction": shown[0]["id"],
            },
        )


class Probe(FastHttpUser):
    """Asks the backend twice a second."""

    fixed_count = 1
    wait_time = constant_pacing(0.5)
    host = LOAD["backend"]

    @task
    def ask(self) -> None:
        """Ask its /health, and tell an event as Label Studio does."""
        self.client.get("/health", name="backend /health")
        event = {"action": "ANNOTATION_UPDATED", "project": {"id": LOAD["project"]}}
        self.client.post(
            "/webhook", json=event, name="backend /webhook", headers=LOAD["event_headers"]
        )


class StudioProbe(FastHttpUser):
    """Asks Label Studio whether it is up, which needs nothing of its database."""

    fixed_count = 1
    wait_time = constant_pacing(2.0)
    host = LOAD["studio"]

    @task
    def ask(self) -> None:
        """Ask its /health."""
        self.client.get("/health", name="Label Studio /health")
