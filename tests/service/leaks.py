"""What an answer to a client may never hold: signs that something of ours leaked into it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

_FOLDERS = (Path(__file__).parents[2], Path.home(), Path(tempfile.gettempdir()))
#: A traceback, a file of Python's, an absolute path, a folder of this machine, an address, a line of /etc/passwd.
LEAK = re.compile(
    "|".join([
        "Traceback", r"\.py\b", "site-packages", "0x[0-9a-f]{6,}", "root:",
        r"/(?:home|tmp)/", r"(?<![\w.:/<])/(?:usr|opt|root|var|etc|mnt|srv)/",
        *(re.escape(f"{folder}/") for folder in _FOLDERS if folder != Path("/")),
    ])
)  # fmt: skip
