"""Scores and events against labels, beside the detectors that any other must beat."""
