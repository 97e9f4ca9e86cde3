"""From a series and settings to a bundle: which rows are an example of what is normal, the training, units, thresholds."""
