"""Boards in files: old ones are put where they belong in time, and the history is written out."""
