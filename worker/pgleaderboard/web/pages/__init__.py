"""The pages: which values an address asks for, and what its template is given."""
