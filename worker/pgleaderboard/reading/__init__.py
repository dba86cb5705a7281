"""What readers ask of the database: a question in, a dataclass out."""
