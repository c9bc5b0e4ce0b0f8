"""Models that turn texts and images into vectors, and what is built on them."""

from ragcore.encoders.grid import CHANNELS, TOWER, GridEncoder

__all__ = ["CHANNELS", "TOWER", "GridEncoder"]
