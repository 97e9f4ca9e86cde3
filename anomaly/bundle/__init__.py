"""One trained detector, one file: numbers and a closed vocabulary, never a program."""
