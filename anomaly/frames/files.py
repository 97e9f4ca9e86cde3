"""`anomaly.read_csv`: what the commands read with, for Python, where a message names arguments and no options."""

from anomaly.arguments import names_arguments
from anomaly.ingest import reading

read_csv = names_arguments(reading.read_csv)
