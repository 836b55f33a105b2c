"""The program: its commands, and how errors become exit codes."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from essnet import __version__
from essnet.cli import (
    cluster,
    data_sets,
    doctor,
    evaluate,
    extend,
    grow,
    logs,
    predict,
    report,
    status,
    stop,
    sweep,
    train,
    ui,
)
from essnet.config.errors import InputError

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The base of all errors of the command line's own grammar; typer gives it no public name."""

_IMPOSSIBLE_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
"""What the system says of a path that can never be there, or is not for this user; which, only the user knows."""

_LONGEST_LINE = 1000
"""In characters; of a longer one the middle is left out: what is shown of the input may be of any length."""


class _Interrupted(Exception):
    """Ctrl-C, where no command has ended by itself upon it."""


class _Program(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # typer would exit without a word
            raise _Interrupted from None


app = typer.Typer(
    name="essnet",
    cls=_Program,
    help="Find out which embedding dimension d and how many neighbours k a segmentation with many classes "
    "needs, and what they cost against the full softmax.",
    epilog="Begin with: launch.py doctor, then: launch.py sweep experiments/textures/sweep.yaml",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("status")(status.status)
app.command("list")(status.list_sweeps)
app.command("logs")(logs.logs)
app.command("stop")(stop.stop)
app.command("extend")(extend.extend)
app.command("report")(report.report)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("grow")(grow.grow)
app.add_typer(cluster.app, name="cluster")
app.add_typer(data_sets.app, name="data")
app.command("doctor")(doctor.doctor)
app.command("ui")(ui.ui)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"essnet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in arguments
    try:
        code = typer.main.get_command(app)(args=arguments, standalone_mode=False)
    except (InputError, _UsageError) as error:
        code = _fail(2, _message(error), debug)
    except (KeyboardInterrupt, _Interrupted, typer.Abort):
        code = _fail(130, "interrupted", debug)
    except OSError as error:
        if error.errno in _IMPOSSIBLE_PATH:
            code = _fail(2, f"{error.filename}: {error.strerror}", debug)
        else:
            code = _fail(1, f"{type(error).__name__}: {error}", debug)
    except Exception as error:  # one line for people; --debug shows the traceback
        code = _fail(1, f"{type(error).__name__}: {_message(error)}", debug)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(code: int, message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    # One line, and nothing in it that a terminal obeys: parts of the input are shown as they are.
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(message.split()))
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]} ... {line[-_LONGEST_LINE // 2 :]}"
    print(f"essnet: {line}", file=sys.stderr)
    return code


def _message(error: BaseException) -> str:
    own = getattr(error, "format_message", None)  # what the command line's own errors say to people
    return str(own() if callable(own) else error)
