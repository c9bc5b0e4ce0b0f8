"""A library as a whole: backup and restore, moves to other engines, recovery."""
