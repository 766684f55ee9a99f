"""What threads of orbax say of a damaged directory after the error, which a command tells."""

from __future__ import annotations

import logging
import sys
from typing import Any


def hush() -> None:
    """Drop, for the whole process, what arrives when nobody waits for it any more."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def hook(said: Any) -> None:
        if str(said.exc_value) != "Event loop is closed":
            before(said)

    sys.unraisablehook = hook
