"""Mutants: one change at a time in sql/, and whether a test notices it.

tokens.py    the words of a statement, and what encloses them
changes.py   what can be changed in it, and into what
sites.py     the statements of sql/, and all mutants of them
covering.py  which test calls which function and reads which view, noted once
slot.py      a server with a template database, and a pytest that waits for mutants beside it
plugin.py    what that pytest does
explained.py tests/mutants.md: what nobody could notice, and why

`python -m tests.mutants` (make mutants) draws some at random, runs them, and shows the survivors.
"""
