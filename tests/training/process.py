"""``deblur train`` in a process of its own, with ``quick_exports``; at its end it names the threads that it leaves.

python -m tests.training.process [OPTIONS]
"""

import sys
from contextlib import suppress
from pathlib import Path

from deblur.cli import main
from tests.quick_export import quick_exports

if __name__ == "__main__":
    with quick_exports():
        code = main(["train", *sys.argv[1:]])
    for name in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # one that has just ended
            print("thread:", name.read_text().strip())
    sys.exit(code)
