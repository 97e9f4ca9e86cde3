"""Bytes to lines: which inputs there are, files that grow, rows that arrive, Parquet as records; what is tolerated is counted."""
