"""The options that several commands share, each written once: it says the same everywhere."""

from __future__ import annotations

from pathlib import Path

import click

from care_live.default_ports import STATUS

FILE = click.Path(path_type=Path)

model = click.option("--model", type=FILE, help="ONNX network; default: the shipped worm network.")
axes = click.option(
    "--axes", help="Axes of a plain TIFF stack, in the order TPCZYX, such as ZYX; of several kinds of stacks ZYX,TZYX."
)
threads = click.option(
    "--threads", type=click.IntRange(0), default=0, help="Threads of inference on the CPU; 0: all cores."
)
directory = click.option(
    "--directory", type=FILE, default=Path("runs"), show_default=True, help="Folder in which the run gets its own."
)
run_id = click.option("--run-id", help="Name of the run; a run that was interrupted goes on under its name.")
resume = click.option("--resume", is_flag=True, help="Go on with a run that has finished, too.")
page = click.option("--web", is_flag=True, help="Start the browser page, too.")
json_file = click.option("--json", "json_file", type=FILE, help="Write the figures of the run to this JSON file.")
leashed = click.option(
    "--until-stdin-ends", "leashed", is_flag=True, hidden=True, help="End with the program that started this."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
minutes = click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Budget of training on this machine; default: what CONFIG says, else 15 (prepare: 10).",
)
channel = click.option(
    "--channel", default="", help="Channel whose network is meant, where a run has several networks."
)
status_address = click.option(
    "--address", metavar="HOST:PORT", default=STATUS, show_default=True, help="The daemon's status_bind."
)
key = click.option("--key", type=FILE, help="Key file of this machine, for a daemon on another machine.")
server_key = click.option(
    "--server-key", metavar="PUBLIC", help="Public key (or .pub file) of a daemon on another machine."
)
recorded_run = click.option("--run", "directory", type=FILE, help="Directory of a run, for its whole history.")
allow_list = click.option(
    "--list", "allow_list", type=FILE, default=Path("keys/allowed"), show_default=True, help="The daemon's allow-list."
)
