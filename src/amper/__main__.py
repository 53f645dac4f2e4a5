"""`python -m amper` is the `amper` command."""

import sys

from amper.frontends.cli import main

if __name__ == "__main__":
    sys.exit(main())
