"""Compile the kernels for this CPU: ``python -m jaxdl.kernels [--compiler=g++]``.

The exit code is 0 where they are built and load, 1 where not, in a line that says why.
"""

import argparse
import sys
from collections.abc import Sequence

from jaxdl import kernels


def main(arguments: Sequence[str] | None = None) -> int:
    """Build them; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxdl.kernels", description=__doc__
    )
    parser.add_argument("--compiler", default="", help="a C++17 compiler's command")
    asked = parser.parse_args(arguments)
    try:
        path = kernels.build(asked.compiler)
    except kernels.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    if not kernels.load():
        print(f"Built {path}, but it does not load.", file=sys.stderr)
        return 1
    print(f"Built {path}: {kernels.KINDS} use it from now on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
