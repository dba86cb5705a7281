"""The queries of screens and commands, each of which returns a dataclass.

But for `news` they rely on no session, so that they work through a pooler in transaction mode. The
rights of a reader or an editor suffice.
"""
