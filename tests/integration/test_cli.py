"""The command line as people and scripts use it, in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.registry.versions import Registry
from ml_backend.retraining.labelled_folder import evaluate_folder
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.processes import Process
from tests.conftest import free_port

COMMANDS = [
    ["up"],
    ["serve"],
    ["worker"],
    ["connect"],
    ["doctor"],
    ["backup"],
    ["restore"],
    ["tidy"],
    ["train"],
    ["evaluate"],
    ["detect"],
    ["scan"],
    ["sort"],
    ["quantize"],
    ["export"],
    ["import"],
    ["models", "list"],
    ["models", "show"],
    ["models", "promote"],
    ["models", "rollback"],
    ["report"],
    ["report", "corrections"],
]


def cytoloop(
    *arguments: str | Path, data: Path | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    if data is not None:
        environment["CYTOLOOP_DATA_DIR"] = str(data)
    done = subprocess.run(
        [sys.executable, "-m", "ml_backend", *map(str, arguments)],
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stderr}\n{done.stdout}"
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six generated fields with Create ML annotations, and a file that is no image."""
    folder = tmp_path_factory.mktemp("dataset")
    notes = []
    for seed in range(6):
        pixels, boxes = generate_field(np.random.default_rng(seed), size=(694, 520), scale=0.5)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels[..., ::-1])
        marks = [
            {
                "label": label,
                "coordinates": {
                    "x": (x1 + x2) / 2,
                    "y": (y1 + y2) / 2,
                    "width": x2 - x1,
                    "height": y2 - y1,
                },
            }
            for x1, y1, x2, y2, label, _ in boxes.to_rows()
        ]
        notes.append({"image": f"{seed}.png", "annotations": marks})
    (folder / "annotations.json").write_text(json.dumps(notes))
    (folder / "broken.png").write_bytes(b"not an image")
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    text = cytoloop(*command, "--help").stdout
    example = rf"Example: cytoloop (--data-dir \S+ )?{re.escape(' '.join(command))}"
    assert "Usage" in text and re.search(example, text)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['cytoloop', '--help']\n"
        "try: runpy.run_module('ml_backend', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'flask', 'mlflow', 'dbos', 'openvino', 'label_studio_sdk'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--dataset", "no-such-folder"], "no-such-folder"),
        (["evaluate", "--dataset", ".", "--model", "starter:nothing"], "starter:mitosis"),
        (["models", "show", "7-v1-abc"], "no version"),
        (["models", "rollback", "--project", "7"], "cytoloop connect"),
        (["train", "--project", "7"], "cytoloop connect"),
        (["train", "--dataset", ".", "--base", "no.npz"], "no.npz"),
        (["train", "--dataset", ".", "--name", "my name"], "letters a to z"),
        (["detect", "no-such-file.png", "--out", "x.json"], "no-such-file"),
        (["detect", ".", "--out", "x.txt"], ".json"),
        (["export", "--project", "7", "--out", "x.csv"], "cytoloop connect"),
        (["import", "no-such-file.json", "--project", "7"], "no-such-file"),
        (["report", "--project", "7"], "cytoloop connect"),
        (["report", "--detections", "no-such-file.csv"], "no-such-file"),
        (["sort", ".", "--out", "."], "not an empty folder"),
        (
            ["connect", "--url", "http://127.0.0.1:1", "--token", "t", "--project", "7"]
            + ["--strategy", "chance"],
            "certainty, random",
        ),
        (["up", "--strategy", "chance"], "certainty, random"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_error_is_one_line_that_says_what_is_wrong(
    arguments: list[str], words: str, dataset: Path, tmp_path: Path
) -> None:
    arguments = [str(dataset) if word == "." else word for word in arguments]
    done = cytoloop(*arguments, data=tmp_path, code=1)
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_data_folder_may_be_named_before_or_after_the_command(tmp_path: Path) -> None:
    for arguments in (
        ["--data-dir", tmp_path / "one", "models", "list", "--json"],
        ["models", "list", "--json", "--data-dir", tmp_path / "two"],
    ):
        assert json.loads(cytoloop(*arguments, data=tmp_path / "other").stdout) == {"models": []}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = cytoloop("serve", "--port", port, "--data-dir", tmp_path / "three", code=1)
    assert "choose another with --port" in done.stderr and done.stderr.count("\n") == 1


def test_train_evaluate_detect_and_list(dataset: Path, data: Path, tmp_path: Path) -> None:
    trained = json.loads(
        cytoloop(
            *("train", "--dataset", dataset, "--epochs", "1", "--imgsz", "128", "--json"),
            data=data,
        ).stdout
    )
    assert {"version", "promoted", "reasons", "seconds", "snapshot"} <= set(trained)
    assert trained["version"].startswith("dataset-v1-") and not trained["promoted"]
    assert [Path(entry["source"]).name for entry in trained["skipped"]] == ["broken.png"]

    figures = json.loads(cytoloop("evaluate", "--dataset", dataset, "--json", data=data).stdout)
    assert figures["model"].startswith("starter-mitosis-") and figures["images"] == 6
    for name in ("image_accuracy", "image_sensitivity", "image_specificity", "f1", "ap50"):
        assert name in figures and f"{name}_interval" in figures
    for figure in figures["classes"].values():
        assert {"precision", "recall", "f1", "ap50"} <= set(figure)
    assert figures["trained_on"] == 0
    settings = Settings(data_dir=data)
    registry = Registry(settings.versions, settings.champions)
    flattered, _ = evaluate_folder(registry, dataset, trained["version"], lambda *_: None)
    assert flattered["trained_on"] == 6
    shutil.copy(dataset / "1.png", tmp_path)
    with pytest.raises(ValueError, match="none of its 1 images is labelled"):
        evaluate_folder(registry, tmp_path, "starter:mitosis", lambda *_: None)

    out = tmp_path / "found.csv"
    found = json.loads(
        cytoloop(
            *("detect", dataset, "--model", trained["version"], "--out", out, "--json"),
            data=data,
            code=3,
        ).stdout
    )
    assert found["tiles"] == 6 and len(found["skipped"]) == 1
    assert found["model"] == trained["version"] and found["seconds"] > 0
    header = out.read_text(encoding="utf-8").splitlines()[0]
    assert header == "source,x1,y1,x2,y2,label,confidence,plane"
    assert len(out.read_text(encoding="utf-8").splitlines()) == 1 + found["detections"]

    listed = json.loads(cytoloop("models", "list", "--json", data=data).stdout)["models"]
    by_name = {entry["version"]: entry for entry in listed}
    assert {"project", "version", "champion", "created", "f1"} == set(listed[0])
    assert by_name[trained["version"]]["project"] == "dataset"
    shown = json.loads(cytoloop("models", "show", trained["version"], "--json", data=data).stdout)
    # Six of its own, and all that its ancestor, the starter, was trained on.
    assert len(shown["seen_hashes"]) > 6

    # A project's champion is listed with it, also where that is a starter.
    registry = Registry(data / "versions", data / "champions")
    registry.promote("7", figures["model"], by="someone", reason="for the test")
    [listed_model] = json.loads(
        cytoloop("models", "list", "--project", "7", "--json", data=data).stdout
    )["models"]
    assert listed_model["version"] == figures["model"] and listed_model["champion"]

    # A version that could draw nothing there does not become a project's champion.
    labels = (files("ml_backend.label_studio.configs") / "tetrads.xml").read_text(encoding="utf-8")
    project = Project(8, "http://127.0.0.1:1", "token", "tetrads", labels)
    Projects(Settings(data_dir=data).projects_database).connect(project)
    refused = cytoloop("models", "promote", trained["version"], "--project", "8", data=data, code=1)
    assert "Mitotic cell, which project 8 has no label for" in refused.stderr


def test_a_token_need_not_stand_in_the_command_line(tmp_path: Path) -> None:
    """Each way leads to the same question, which the closed port answers."""
    arguments = ["--data-dir", str(tmp_path), "connect", "--url", "http://127.0.0.1:1"]
    arguments += ["--project", "7"]
    command = [sys.executable, "-m", "ml_backend", *arguments]
    environment = {key: value for key, value in os.environ.items() if "TOKEN" not in key}

    def connect(*more: str, stdin: str = "", **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            [*command, "--strategy", "chance", *more],
            input=stdin,
            env=environment | variables,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    assert connect()[0] == 2
    code, words = connect("--token", "-", stdin="")
    assert code == 1 and "no token on standard input" in words
    for done in (
        connect("--token", "-", stdin="secret-token\n"),
        connect(CYTOLOOP_LABEL_STUDIO_TOKEN="secret-token"),
        connect("--token", "secret-token"),
    ):
        assert done[0] == 1 and "certainty, random" in done[1] and "secret" not in done[1]


@pytest.mark.parametrize(
    ("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_serving_beyond_this_machine_without_tls_is_warned_of(
    host: str, warned: bool, tmp_path: Path
) -> None:
    os.chmod(tmp_path, 0o755)
    port = free_port()
    command = [sys.executable, "-m", "ml_backend", "--data-dir", str(tmp_path), "serve"]
    command += ["--host", host, "--port", str(port)]
    log = tmp_path.with_name(f"{tmp_path.name}.log")
    process = Process.start(command, log, dict(os.environ), tmp_path)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                break
            assert process.is_alive() and time.monotonic() < deadline, process.read_last_lines(20)
            time.sleep(0.1)
    finally:
        process.stop()
    words = " ".join(log.read_text().replace("│", " ").split())
    assert ("WITHOUT ENCRYPTION" in words and "CYTOLOOP_TLS_CERTIFICATE" in words) == warned
    if os.name == "posix":
        assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path, *tmp_path.rglob("*")))


def test_half_a_certificate_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ml_backend", "--data-dir", str(tmp_path), "serve"],
        env=os.environ | {"CYTOLOOP_TLS_KEY": str(tmp_path / "key.pem")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "CYTOLOOP_TLS_CERTIFICATE" in done.stderr
