"""Kinds of learners: what is trained on corrections and draws pre-annotations."""

import os

from platformdirs import user_cache_path

# ultralytics reads these when it is imported: settings of its own in a corner, no traffic,
# nothing installed behind the user's back.
os.environ.setdefault(
    "YOLO_CONFIG_DIR", str(user_cache_path("cytoloop", appauthor=False) / "ultralytics")
)
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")
