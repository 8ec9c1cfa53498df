"""Data sets: the one that the project draws, and the readers."""
