"""One command: Label Studio, backend, worker and a project whose cells are marked."""
