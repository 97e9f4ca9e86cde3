"""A series to windows and back: which rows train, how they are scaled, what stands for what is missing."""
