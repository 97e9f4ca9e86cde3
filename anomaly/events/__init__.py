"""Flags to events: what becomes of flagged rows, and how many alarms that makes at every cut."""
