"""Many series: a folder of detectors, their training, scoring, tuning, and files in which several series stand."""
