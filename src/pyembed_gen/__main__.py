"""``python -m pyembed_gen``."""

import sys

from pyembed_gen.cli import main

sys.exit(main())
