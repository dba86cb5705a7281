"""The way of a board from Kaggle into the database: attempt, staging, board, order, retry."""
