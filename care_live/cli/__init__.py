"""The commands. Each is a function in a file of this folder, and imports its room inside itself.

``care-live --help`` must answer at once, so this file imports nothing but click: a command's file is
loaded when that command is called.
"""

from __future__ import annotations

import errno
import importlib
import sys

import click

from care_live import __version__
from care_live.blas_threads import one_blas_thread
from care_live.errors import CareLiveError
from care_live.wire.printable import printable

FILES = {
    "live": ("run", "demo", "replay"),
    "offline": ("restore", "verify", "report"),
    "health": ("status", "swap", "doctor"),
    "stage": ("keep", "stage"),
    "networks": ("simulate", "evaluate", "calibrate", "domain"),
    "training": ("train", "export"),
    "preparing": ("prepare",),
    "importing": ("import",),
    "watching": ("view", "record", "keys"),
    "web": ("web",),
    "service": ("service",),
    "camera": ("camera",),
}
SUMMARIES = {
    "run": "Acquire, restore, publish and store, as a config file says.",
    "demo": "Show all of care_live on a virtual microscope.",
    "replay": "Restore a recorded data set as if it were being acquired.",
    "restore": "Restore a file or a data set, offline, with the same code.",
    "verify": "Check every checksum of a run against its journal.",
    "report": "Write one page on a run: losses, ages, where to look twice.",
    "status": "Show what a running daemon is doing.",
    "swap": "Give a running daemon another network.",
    "keep": "Store the last seconds of Live as a run.",
    "stage": "Drive the virtual microscope that is in Live.",
    "doctor": "Check this machine and a config; say what to do.",
    "camera": "Measure a camera's gain, offset and noise.",
    "simulate": "Write simulated training data.",
    "train": "Train a network, or an ensemble, on your own images or from a config.",
    "prepare": "Make a network for today's specimen, at the microscope.",
    "evaluate": "Score a network: NRMSE, PSNR, SSIM per condition.",
    "calibrate": "Measure and correct the coverage of a network's intervals.",
    "domain": "Measure what a network's kind of images looks like.",
    "export": "Turn a training run into one ONNX file with its model card.",
    "import": "Import a CSBDeep, bioimage.io or plain ONNX network.",
    "view": "Watch a running daemon in the terminal, or in napari.",
    "web": "Watch a running daemon in the browser.",
    "record": "Record what a daemon publishes, without gaps.",
    "service": "Let the system start the daemon with this machine.",
    "keys": "Make, allow and revoke keys for links between machines.",
}


_OF_DISKS = {
    errno.ENOSPC: "free some space, or name another folder",
    errno.EDQUOT: "free some space, or name another folder",
    errno.EROFS: "name a folder that can be written",
    errno.EACCES: "name one that you may read and write",
    errno.EPERM: "name one that you may read and write",
    errno.EIO: "look at the disk",
    errno.ENOENT: "name one that exists",
    errno.ENOTDIR: "name a folder",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "name it shorter",
}
"""What to do where a disk refuses what a command reads or writes: by the error's number."""


class _Commands(click.Group):
    """A group that loads a command's file only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for file, names in FILES.items():
            if cmd_name in names:
                module = importlib.import_module(f"care_live.cli.{file}")
                command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="care-live")
def cli() -> None:
    """Restore fluorescence microscopy volumes while they are being acquired."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error of ours is one line on stderr and its exit code."""
    try:
        with one_blas_thread():  # a command imports numpy inside itself
            cli.main(args=arguments, prog_name="care-live", standalone_mode=False)
    except CareLiveError as error:
        click.echo(f"care-live: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        click.echo(f"care-live: {error.format_message()}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OSError as error:
        if error.errno not in _OF_DISKS:
            raise
        place = f"{error.filename}: " if error.filename else "a file cannot be read or written: "
        click.echo(f"care-live: {printable(f'{place}{error.strerror}')}; {_OF_DISKS[error.errno]}", err=True)
        sys.exit(1)
