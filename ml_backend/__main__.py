"""`python -m ml_backend` is the console script `cytoloop`."""

from ml_backend.cli.app import main

main()
