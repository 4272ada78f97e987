"""`mozg` and `python -m mozg`: the command line, which answers Ctrl-C and SIGTERM from its first moment."""

from __future__ import annotations

import signal
import sys


def end(number: int, _: object) -> None:
    """Answer a signal as an exit does, so that what runs or lies about is cleared away."""
    sys.exit(128 + number)


def main() -> int:
    """Entry point; see mozg.cli.main."""
    try:
        signal.signal(signal.SIGTERM, end)
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        print("mozg: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
