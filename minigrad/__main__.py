"""`python -m minigrad`."""

import sys

from minigrad.app.cli import main

sys.exit(main())
