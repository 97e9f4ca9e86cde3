"""A file of any length to scored rows, through a crash; all that is wrong with a file; the demonstration."""
