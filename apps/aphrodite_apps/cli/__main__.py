"""`python -m aphrodite_apps.cli` is the same as `aphrodite`."""

import sys

from aphrodite_apps.cli.entry import main

sys.exit(main())
