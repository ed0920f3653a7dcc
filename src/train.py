"""``python src/train.py ...`` is ``deblur train ...``, from a plain checkout and from any folder."""

import sys

from deblur.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
