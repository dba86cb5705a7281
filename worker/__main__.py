"""`python -m worker` is `pgleaderboard`."""

from worker.cli import main

if __name__ == "__main__":
    main()
