"""A reader that points to the answer in a passage."""
