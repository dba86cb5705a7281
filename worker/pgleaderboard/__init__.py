"""Kaggle leaderboards that keep themselves in sync inside PostgreSQL."""

__version__ = "0.1.0"
