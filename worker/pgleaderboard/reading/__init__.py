"""What readers ask of the database: a question in, a dataclass out.

Nothing here relies on a session, so that it works through a pooler in transaction mode too, and only what a reader or
an editor may ask is asked.
"""
