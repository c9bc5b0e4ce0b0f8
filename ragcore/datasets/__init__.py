"""Data with known answers, for training and evaluation, and scores of what was found or said."""
