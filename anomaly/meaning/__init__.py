"""What a file means, told from its head: its separator and decimal mark, and what each column is for."""
