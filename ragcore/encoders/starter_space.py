"""The space of starter-clip: its three parts and their sizes. Imports nothing."""

from __future__ import annotations

MEMBERS = 3  # heads of the learned part, side by side
LEARNED, CLASSES, SEMANTIC = 256, 1000, 64
DIMENSION = LEARNED + CLASSES + SEMANTIC
SEMANTIC_LENGTH = 0.45  # of that part in images and in texts, beside 1 for the others
NAME_SHARPNESS = 12.0  # how sharply a text is assigned to the nearest of the known names
CONTEXT = 64  # tokens of a text that are read
