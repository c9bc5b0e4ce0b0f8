"""A projector with which a frozen language model reads images."""
