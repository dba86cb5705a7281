"""`python -m pgleaderboard` is `pgleaderboard`."""

from pgleaderboard.cli.main import main

if __name__ == "__main__":
    main()
