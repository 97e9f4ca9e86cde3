"""`anomaly inspect` and `anomaly report`: what is in a detector, and a page about a series."""

import click

from anomaly.cli.shared import SETTINGS_CONTEXT, print_text


@click.command(context_settings=SETTINGS_CONTEXT)
@click.argument("model", type=click.Path(exists=True, dir_okay=False), metavar="FILE")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def inspect(model: str, format: str) -> None:
    """Show what is in a detector file: data, network, training, thresholds, versions.

    \b
    anomaly inspect pump.anomaly
    """
    from anomaly.bundle import read_bundle
    from anomaly.report import bundle_text

    print_text(bundle_text(read_bundle(model), format))
