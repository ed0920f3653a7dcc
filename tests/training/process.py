"""``deblur train`` in a process of its own, with ``quick_exports``.

python -m tests.training.process [OPTIONS]
"""

import sys

from deblur.cli import main
from tests.quick_export import quick_exports

if __name__ == "__main__":
    with quick_exports():
        sys.exit(main(["train", *sys.argv[1:]]))
