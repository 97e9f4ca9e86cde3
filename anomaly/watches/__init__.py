"""Rules that watch each row: a feature that moves, stands to the others, or lies as it never did in training."""
