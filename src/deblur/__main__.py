"""``python -m deblur``."""

import sys

from deblur.cli import main

sys.exit(main())
