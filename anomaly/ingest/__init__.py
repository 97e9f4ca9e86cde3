"""Lines to a checked `TimeSeries`: header, cells, order, and what becomes of what is wrong."""
