"""The command `anomaly`, also as `python -m anomaly`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it in order from here on, while it is still being imported too."""
    try:
        from anomaly.quick_start import collect_seldom

        collect_seldom()
        from anomaly.cli import cli

        cli(prog_name="anomaly")
    except KeyboardInterrupt:
        sys.exit(130)  # 128 and the number of the signal


if __name__ == "__main__":
    main()
