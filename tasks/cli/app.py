"""The commands from a microscope's output to review tasks, and back to figures."""

from __future__ import annotations

import typer

from tasks.cli import detection, exchange, launcher, reports, stacks

app = typer.Typer()
app.add_typer(launcher.app)
app.add_typer(detection.app)
app.add_typer(exchange.app)
app.add_typer(reports.app, name="report")
app.add_typer(stacks.app, name="stacks")
