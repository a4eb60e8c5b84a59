"""A version's run, figures and files in MLflow: a record to look at, never in the way.

Runs as a process of its own (`python -m ml_backend.retraining.mlflow_log VERSION`), so that neither
the worker carries MLflow nor its failure blocks anything.
"""

from __future__ import annotations

import logging
import os
import sys

from ml_backend.evaluation import plots
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.system.child_module import ChildFailed, run_module

log = logging.getLogger(__name__)


def record_in_child(version: str, settings: Settings, timeout: float = 120.0) -> bool:
    """Record a version in a process of its own.

    Args:
        version: Its name.
        settings: Of the data folder that holds it.
        timeout: Seconds that it may take.

    Returns:
        Whether it was recorded; where not, the log says in one line why.
    """
    environment = {**os.environ, "CYTOLOOP_DATA_DIR": str(settings.data_dir)}
    module = "ml_backend.retraining.mlflow_log"
    try:
        run_module(module, version, environment=environment, timeout=timeout)
    except ChildFailed as error:
        log.warning("MLflow did not record %s: %s", version, error)
        return False
    return True


def record(name: str, settings: Settings) -> None:
    """Write a version's parameters, figures and files as one MLflow run.

    It is a run of the experiment `cytoloop-PROJECT`, on the shared server of the settings or else
    in the data folder, where the figures are in `mlflow.sqlite` and the files in `mlflow-files`.

    Args:
        name: The version's.
        settings: Of the data folder that holds it.

    Raises:
        UnknownVersion: There is no such version.
        mlflow.exceptions.MlflowException: The record could not be written.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow

    registry = Registry.open(settings)
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
                "earlier": version.earlier,
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
