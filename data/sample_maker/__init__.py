"""Renders the sources of the sample collection; see data/make_sample.py."""
