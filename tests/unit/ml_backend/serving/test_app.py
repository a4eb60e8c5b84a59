"""The app as a whole: one state, and a process that stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ml_backend.serving.app import create_app
from ml_backend.serving.app_state import EXTENSION, AppState
from ml_backend.settings import Settings


def test_each_app_has_one_state_of_its_own(settings: Settings) -> None:
    first, second = create_app(settings), create_app(settings)
    state = first.extensions[EXTENSION]
    assert isinstance(state, AppState) and state is not second.extensions[EXTENSION]
    assert state.settings is settings and state.password not in repr(state)


def test_the_pages_need_neither_torch_nor_mlflow(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "import tasks.review.scans_page, ml_backend.serving.server\n"
        "from ml_backend.serving.app import create_app\n"
        "from ml_backend.settings import Settings\n"
        "app = create_app(Settings(data_dir=Path(sys.argv[1]), backend_password='pw'))\n"
        "client = app.test_client()\n"
        "for path in ('/', '/health', '/metrics'):\n"
        "    answer = client.get(path, auth=('cytoloop', 'pw'), headers={'Accept': 'text/html'})\n"
        "    assert answer.status_code == 200, answer.text\n"
        "print([m for m in ('torch', 'mlflow', 'ultralytics') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
