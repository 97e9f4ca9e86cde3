"""The options of commands about many series: which these are, and where the tasks run; telling such a call from one about one."""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from anomaly.cli.options import Command, WholeRange
from anomaly.cli.shared import is_all_remote, refuse_address, with_addresses, without_options
from anomaly.errors import ConfigError
from anomaly.sources.inputs import find_inputs, stands_for_many
from anomaly.storage.addresses import ObjectUri
from anomaly.storage.folders import is_folder

if TYPE_CHECKING:
    from anomaly.engines.pool import Executor

inputs_argument = click.argument("data", nargs=-1, required=True, type=click.Path(allow_dash=True), metavar="DATA...")


_EXECUTION = (
    click.option(
        "--jobs",
        type=WholeRange(min=1),
        metavar="N",
        help="Processes at once, for several series.  [default: 1; with --engine ray every CPU]",
    ),
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where several series are worked on: here, or on a Ray cluster (needs ray).",
    ),
    click.option(
        "--ray-address", metavar="HOST:PORT|auto", help="Ray cluster to use with --engine ray.  [default: one started here]"
    ),
    click.option(
        "--allow-remote",
        is_flag=True,
        help="Let DATA, --model and --output be in an object store: s3://, gs://, abfs:// (needs pyarrow).",
    ),
)
_NEW_SERIES = click.option(
    "--new-series",
    type=click.Choice(["refuse", "learn"]),
    default="refuse",
    show_default=True,
    help="A series that the folder of detectors was not trained on: refuse it, or learn it from its own first rows.",
)
_ID_COLUMN = click.option("--id-column", metavar="NAME", help="Column that says which of several series a record belongs to.")


def many_options(command: Command) -> Command:
    """Add --id-column and where tasks run; they stay in the context and do not go to the command."""
    return jobs_in_context(_ID_COLUMN(without_options(command, ("id_column",))))


def new_series_option(command: Command) -> Command:
    """Add what becomes of new series; it stays in the context and does not go to the command."""
    return _NEW_SERIES(without_options(command, ("new_series",)))


def new_series() -> str:
    """Return what becomes of new series, as the command at hand says."""
    return str(click.get_current_context().params["new_series"])


def jobs_in_context(command: Command) -> Command:
    """Add where tasks run and where paths may lead, which stays in the context."""
    command = without_options(with_addresses(command), ("jobs", "engine", "ray_address", "allow_remote"))
    for option in reversed(_EXECUTION):
        command = option(command)
    return command


@contextlib.contextmanager
def given_executor(given: Mapping[str, Any]) -> "Iterator[Executor]":
    """Yield what runs tasks, as the options say; standard output is not to be written to in the block."""
    engine, address, jobs = given["engine"], given["ray_address"], given["jobs"]
    if engine == "ray":
        from anomaly.engines.ray_cluster import connected

        with connected(address, jobs, shared_folder=not is_all_remote(given)) as executor:
            yield executor
        return
    if address is not None:
        raise ConfigError(
            f"--ray-address must go with --engine ray. Received: --ray-address {address} without it. "
            "Add --engine ray, or leave it out."
        )
    from anomaly.engines.pool import run

    yield partial(run, jobs=jobs or 1)


def training_options(command: Command) -> Command:
    """Add the options of a training on several series."""
    per_series = click.option(
        "--per-series", is_flag=True, help="With several series, a network for each.  [default: one network for all]"
    )
    return per_series(many_options(without_options(command, ("per_series",))))


def one_file(data: tuple[str, ...]) -> str:
    """Return the only file of the arguments, which must exist.

    Raises:
        ConfigError: if a cluster is to work on it.
    """
    given = click.get_current_context().params
    if given.get("engine") == "ray" or given.get("ray_address") is not None:
        raise ConfigError("A cluster works on several inputs. Received: --engine ray or --ray-address with one. Leave it out.")
    if isinstance(data[0], ObjectUri):
        if given.get("follow"):
            raise ConfigError(f"--follow must read a pipe or a file that grows. Received: {data[0]}. Leave --follow out.")
        return find_inputs(data)[0].path
    return _converted("data", data[0], click.Path(exists=True, dir_okay=False, allow_dash=True))


def one_model(path: str) -> str:
    """Return where the only detector goes, which must not be a folder."""
    refuse_address("--model", path)
    return _converted("model", path, click.Path(dir_okay=False))


def _converted(name: str, path: str, kind: click.Path) -> str:
    context = click.get_current_context()
    return str(kind.convert(path, next(p for p in context.command.params if p.name == name), context))


def is_about_many(data: tuple[str, ...]) -> bool:
    """Tell whether the command at hand is about several inputs, or about one for a folder of detectors.

    One long file is not: its series stand in one input. A folder of detectors that came from long files says itself which
    column tells the series apart.
    """
    given = click.get_current_context().params
    if stands_for_many(data):
        return True
    if "per_series" in given:  # a training: what comes of a long file goes to a folder too
        return given["per_series"] or given["id_column"] is not None
    if given["id_column"] is None and is_folder(given["model"]):
        from anomaly.fleet.folder import Fleet

        given["id_column"] = Fleet.load(given["model"]).index.id_column
        return given["id_column"] is None and not given.get("follow")
    return False


def refuse_given(given: Mapping[str, Any]) -> None:
    """Refuse options that have no meaning for many series; None and False are not given."""
    for name, value in given.items():
        if value not in (None, False):
            raise ConfigError(f"--{name} must go with one input. Received: --{name} with several. Leave it out.")
