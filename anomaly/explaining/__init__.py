"""What an event hangs on: the derivative of scores by the values, and the smallest change that unflags it."""
