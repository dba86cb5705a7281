"""Kaggle's side of the socket."""
