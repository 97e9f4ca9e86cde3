"""`anomaly export`: a detector for programs that do not have this package."""

import click

from anomaly.cli.help import GroupedCommand
from anomaly.cli.shared import SETTINGS_CONTEXT, DetectorFile, expect_sha256_option, quiet_option, refuse_same_file
from anomaly.cli.terminal import say
from anomaly.cli.waiting import current
from anomaly.errors import ConfigError
from anomaly.storage.writing import output_or_stdout, require_writable


@click.command(cls=GroupedCommand, context_settings=SETTINGS_CONTEXT)
@click.argument("model", type=DetectorFile(), metavar="FILE")
@click.option("--format", type=click.Choice(["onnx", "keras"]), default="onnx", show_default=True, help="What is written.")
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False), metavar="FILE|-", help="Where it goes.")
@click.option("--data-licence", metavar="TEXT", help="Licence of the training data, for the metadata of an ONNX file.")
@expect_sha256_option
@quiet_option
def export(model: str, format: str, output: str, data_licence: str | None, expect_sha256: str | None, quiet: bool) -> None:
    """Write a detector for programs that do not have this package.

    \b
    anomaly export pump.anomaly --output pump.onnx
    anomaly export pump.anomaly --format keras --output pump.keras

    onnx: from windows in units of the data to reconstruction, errors and scores; the metadata have columns, window, scaler
    and thresholds. keras: the network alone, for scaled windows; it needs TensorFlow.
    """
    refuse_same_file(model=model, output=output)
    _check_form(format, output, data_licence)
    if output != "-":
        require_writable(output)
    from anomaly.bundle.export import keras_bytes, onnx_bytes
    from anomaly.bundle.file import read_bundle
    from anomaly.bundle.onnx_graph import EXPORTED_TERMS, score_terms

    bundle = read_bundle(model, expect_sha256)
    current().now("Exporting")
    content = keras_bytes(bundle) if format == "keras" else onnx_bytes(bundle, data_licence)
    with output_or_stdout(output) as handle:
        handle.write(content)
    if not quiet and output != "-":
        say(f"Saved {output} ({len(content):,} bytes).")
    if not quiet:
        _tell_of_other_terms(score_terms(bundle)[len(EXPORTED_TERMS) :])


def _tell_of_other_terms(others: tuple[str, ...]) -> None:
    """Say what of the detector's score is not in the file."""
    if others:
        say(
            f"The score of this detector also has the terms {', '.join(others)}, which are not in the file: its thresholds are "
            "not those of the file's scores. Train with --nearest-windows 0 for a detector whose score is all in its file.",
        )


def _check_form(format: str, output: str, data_licence: str | None) -> None:
    """Refuse what the other form can and this one cannot."""
    if format == "keras" and not output.endswith(".keras"):
        raise ConfigError(f"Keras reads files whose names end in .keras. Received: --output {output}. Use such a name.")
    if format == "onnx" and output.endswith((".keras", ".h5")):
        raise ConfigError(
            f"Names of ONNX files must not end as Keras' do. Received: --output {output}. Add --format keras, or use another name."
        )
    if format == "keras" and data_licence is not None:
        raise ConfigError("--data-licence must go with --format onnx: a Keras file has no room for it. Leave it out.")
