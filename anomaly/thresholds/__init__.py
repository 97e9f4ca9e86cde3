"""Where a cut comes from and what to expect of it; knows nothing of the network."""
