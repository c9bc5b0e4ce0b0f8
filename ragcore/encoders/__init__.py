"""Models that turn texts and images into vectors, and what is built on them."""
