"""Attacks on running servers, on the library and on files: each is refused in its own way."""
