"""For notebooks: the threshold tuner, what a cut costs, how stable scores are."""
