"""The worker process: what keeps it running, and what runs its jobs."""
