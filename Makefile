# A thin layer: it finds uv, or puts one into .uv/ of this clone, and uv does the rest.
# Without make, or on Windows: `uv run cytoloop up --demo` and `uv run pytest`.

UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)

.PHONY: audit demo sbom test uv

demo: $(UV)
	@[ -d .venv ] || echo "The first start downloads about 3 GB (PyTorch, Label Studio, 17 images): some \
	2 minutes at 500 Mbit/s, 10 at 50. Later ones take seconds." >&2
	$(UV) run cytoloop up --demo

test: $(UV)
	$(UV) run pytest

# Known vulnerabilities of what is installed here, by pip-audit. 3: nobody could be asked.
audit: $(UV)
	@$(UV) run --quiet --with pip-audit python scripts/audit.py

# What is installed here, with versions and licences, as CycloneDX in sbom.json.
sbom: $(UV)
	$(UV) run --with cyclonedx-bom cyclonedx-py environment --output-file sbom.json

uv: $(UV)
	@echo $(UV)

# An environment of its own, because many systems refuse `pip install` into theirs (PEP 668).
# Where Python came without venv, pip can still fill a folder.
.uv/bin/uv:
	@echo "No uv here: putting one into .uv/ of this folder." >&2
	@{ python3 -m venv .uv && .uv/bin/python -m pip install --quiet uv; } >&2 || \
	  { rm -rf .uv && python3 -m pip install --quiet --target .uv uv; } >&2 || \
	  { rm -rf .uv; echo "Could not install uv. Install it from https://docs.astral.sh/uv and run make again." >&2; exit 1; }
