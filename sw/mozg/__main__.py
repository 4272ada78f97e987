"""`mozg` and `python -m mozg`: the command line, which answers Ctrl-C from its first moment."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Entry point; see mozg.cli.main."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        print("mozg: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
