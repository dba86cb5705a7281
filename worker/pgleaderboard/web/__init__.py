"""The live page: what the database holds, for browsers. It reads, and never writes."""
