#!/bin/sh
# Installs cytoloop with all that the containers use: install.sh ENVIRONMENT TORCH_BACKEND
#
# Run in the folder of pyproject.toml, whose constraints and overrides uv follows. TORCH_BACKEND is
# uv's --torch-backend, or "index" for the build of PyTorch that the package index has.
set -eu
environment=$1 backend=$2
uv venv --python "${PYTHON:-python3}" "$environment"
set -- --python "$environment/bin/python"
[ "$backend" = index ] || set -- "$@" --torch-backend "$backend"
uv pip install "$@" ".[int8,ray,s3]"
