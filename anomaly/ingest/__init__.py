"""Bytes to a checked `TimeSeries`: lines, header, cells, times, order, and what becomes of what is wrong."""
