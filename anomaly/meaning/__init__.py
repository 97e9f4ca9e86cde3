"""What a file means, told from its head: how it is cut, where it begins and ends, how many series it holds."""
