"""Experiments: each a module to run, ``python -m experiments.NAME``."""

import os

# Before JAX is imported: XLA's loader of cached CPU programs logs a page at error
# level for compiler preferences (prefer-no-gather) that are no CPU features.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
