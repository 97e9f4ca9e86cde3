"""Rows as they come: one series or many in one input, and what is remembered through a restart."""
