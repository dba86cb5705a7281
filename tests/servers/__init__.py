"""What runs on every version of PostgreSQL that is supported, one after another: `make test-servers`."""
