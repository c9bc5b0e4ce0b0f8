"""ragcore: one library for a person's documents and pictures."""

import os

__version__ = "0.1.0"

# Encoders, SQLite, readers and language models share the cores. OpenMP's threads spin for
# milliseconds while they wait for work, and keep the cores from the others; asleep at once they
# wake too late for the next token. They spin for about 0.2 ms (docs/search.md, Speed). Read when
# torch is loaded; whoever sets one of the variables decides.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")
