"""The kinds of models: how they are trained, loaded, asked and judged."""

import os
import sys

from platformdirs import user_cache_path

# ultralytics reads these when it is imported: settings of its own in a corner, no traffic,
# nothing installed behind the user's back.
os.environ.setdefault(
    "YOLO_CONFIG_DIR", str(user_cache_path("cytoloop", appauthor=False) / "ultralytics")
)
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")

# Read by torch's OpenMP when it is loaded. While other programs compute, threads that spin at
# barriers keep those from the cores that they wait for: under a load of 7 on two cores an
# image of a training step took 1.1 to 2.1 s, and 0.3 s with threads that sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# OpenVINO reports every conversion to its makers, and waits for seconds where it cannot;
# without its reporter it takes a stub that says nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
