"""What each column is, told from the head of a file: the time, labels, counts and what nobody can read."""
