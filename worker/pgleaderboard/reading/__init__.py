"""The queries of screens and commands. Rows are named tuples, with the names of the columns.

But for `asking.news` they rely on no session, so that they work through a pooler in transaction mode. The rights of a
reader or an editor suffice.
"""
