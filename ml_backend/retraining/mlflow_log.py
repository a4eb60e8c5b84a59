"""A version's run, figures and files in MLflow: a record to look at, never in the way.

Runs as a process of its own (`python -m ml_backend.retraining.mlflow_log VERSION`), so that neither
the worker carries MLflow nor its failure blocks anything.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys

from ml_backend.evaluation import plots
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings

log = logging.getLogger(__name__)


def record_in_child(version: str, settings: Settings, timeout: float = 120.0) -> bool:
    """Record the version; False, with one line in the log, where that failed."""
    environment = {**os.environ, "CYTOLOOP_DATA_DIR": str(settings.data_dir)}
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "ml_backend.retraining.mlflow_log", version],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        log.warning("MLflow did not record %s: %s", version, said[-1] if said else error)
        return False
    return True


def record(name: str, settings: Settings) -> None:
    """Write a version's parameters, figures and model file as one MLflow run."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow

    registry = Registry(settings.versions, settings.champions)
    version, card = registry.get(name), registry.read_card(name)
    mlflow.set_tracking_uri(settings.tracking_uri)
    experiment = f"cytoloop-{version.project}"
    if mlflow.get_experiment_by_name(experiment) is None:
        own = settings.mlflow_tracking_uri is None
        place = (settings.data_dir / "mlflow-files").resolve().as_uri() if own else None
        mlflow.create_experiment(experiment, artifact_location=place)
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=name):
        mlflow.log_params(
            {
                "base": version.base,
                "snapshot": version.snapshot,
                "architecture": card.architecture,
                "classes": ", ".join(card.classes),
                "scale": card.scale,
                "input_um": card.input_um,
                "threshold": card.threshold,
                "images_seen": len(version.seen_hashes),
            }
        )
        numbers = {
            key: float(value)
            for key, value in version.figures.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        mlflow.log_metrics(numbers)
        mlflow.set_tags({"promoted": version.decision.get("promoted", False)})
        mlflow.log_dict(version.decision, "decision.json")
        folder = registry.get_folder(name)
        for file in (folder / "weights.safetensors", folder / plots.FILE_NAME):
            if file.exists():
                mlflow.log_artifact(str(file))


if __name__ == "__main__":
    record(sys.argv[1], Settings())
