"""Many tasks at once: a pool of processes, or the nodes of a Ray cluster."""
