"""What a file means, told from its head: its separator and decimal mark, its times, and what each column is for."""
