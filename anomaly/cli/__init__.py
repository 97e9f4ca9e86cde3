"""The command line: parse, call one function, echo.

Everything heavy is imported inside the commands: `--help` and shell completion must stay quick, and
scoring must not load TensorFlow.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import click

from anomaly import __version__
from anomaly.cli.dismissing import dismiss
from anomaly.cli.exporting import export
from anomaly.cli.help import OrderedGroup
from anomaly.cli.plotting import plot
from anomaly.cli.scoring import detect, explain, score
from anomaly.cli.shared import INTERRUPTED, SETTINGS_CONTEXT
from anomaly.cli.showing import check, inspect, report
from anomaly.cli.streams import output_errors, sound_streams, take_closed_descriptors
from anomaly.cli.terminal import say
from anomaly.cli.training import demo, train
from anomaly.cli.tuning import evaluate, threshold
from anomaly.errors import AnomalyError, SeveralSeriesError, StorageError, out_of_memory
from anomaly.leaving import TERMINATED, Terminated, heeding_sigterm


class _Commands(OrderedGroup):
    """Turns expected errors into one sentence and the right exit code; a bug keeps its traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        take_closed_descriptors()
        with sound_streams():
            return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _in_one_sentence():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with heeding_sigterm(), _in_one_sentence():
            return super().invoke(ctx)


@contextlib.contextmanager
def _in_one_sentence() -> Iterator[None]:
    try:
        with output_errors():
            yield
    except AnomalyError as error:
        say(f"Error: {_message(error)}")
        sys.exit(error.exit_code)
    except MemoryError as error:
        say(f"Error: {out_of_memory(error)}")
        sys.exit(StorageError.exit_code)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        leaving = _interruption(error)
        if leaving is None:
            raise
        if isinstance(leaving, Terminated):
            sys.exit(TERMINATED)
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)


def _interruption(error: BaseException | None) -> BaseException | None:
    """Return the signal behind an error: a module of C says that it could not be imported when one comes meanwhile."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, Terminated)):
        error = error.__cause__ or error.__context__
    return error


def _message(error: AnomalyError) -> str:
    """Return what an error says where the command at hand has the options that it names."""
    context = click.get_current_context(silent=True)
    command = None if context is None else cli.commands.get(context.invoked_subcommand or "")
    names = {option for param in command.params for option in param.opts} if command is not None else set()
    return error.alone if isinstance(error, SeveralSeriesError) and "--id-column" not in names else str(error)


@click.group(cls=_Commands, context_settings=SETTINGS_CONTEXT)
@click.version_option(__version__, prog_name="anomaly", allow_from_autoenv=False)
def cli() -> None:
    """Find out when a time series stops being normal.

    Train on history, then score new data. Every option of a command with --config can also come from
    --config FILE.toml (window_size = 64) or the environment (ANOMALY_WINDOW_SIZE=64); "-" is standard input
    or output.

    \b
    Exit codes: 0 done, 1 bug, 2 usage or settings, 3 data refused, 4 bundle refused, 5 file, disk or memory,
    6 training diverged, 10 anomalies found (only with --fail-on-anomaly), 130 interrupted, 141 the reader of
    the output went away, 143 terminated.
    """


# In the order of use, which is that of the help.
for command in (demo, check, train, detect, score, explain, threshold, evaluate, plot, report, inspect, dismiss, export):
    cli.add_command(command)
