"""`python -m anomaly` is the command `anomaly`."""

from anomaly.cli import cli

if __name__ == "__main__":
    cli(prog_name="anomaly")
