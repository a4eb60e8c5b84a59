"""Known vulnerabilities of the libraries that are installed here, by pip-audit.

Ends with 0 where none is known, 1 where one is, and 3 where no database could be asked: then
nothing is known, which is not the same as nothing found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

UNKNOWN = 3
CANARY = "jinja2"  # a library that every database of Python packages knows


def run_pip_audit(*arguments: str) -> list[dict[str, Any]] | None:
    """Run pip-audit: what it says of each library; None where it could not ask."""
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
        + [*arguments],
        capture_output=True,
        text=True,
    )
    try:
        return json.loads(done.stdout)["dependencies"]
    except ValueError:
        return None


def main() -> int:
    """Ask about one library first, then about all; print what is known."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{CANARY}=={version(CANARY)}\n")
        asked = run_pip_audit("--requirement", str(wanted), "--no-deps", "--disable-pip")
    if not asked or "skip_reason" in asked[0]:
        print("vulnerabilities: no database can be asked from here, so nothing is known of them")
        return UNKNOWN
    found = run_pip_audit("--path", sysconfig.get_paths()["purelib"]) or []
    known = [
        f"{library['name']} {library['version']}: {flaw['id']}"
        + (f", mended in {', '.join(flaw['fix_versions'])}" if flaw["fix_versions"] else "")
        for library in found
        for flaw in library.get("vulns", [])
    ]
    skipped = sum("skip_reason" in library for library in found)
    print("\n".join(known))
    print(f"vulnerabilities: {len(known)} known in {len(found) - skipped} libraries")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
