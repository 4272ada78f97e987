"""The root of every error that the package raises on purpose."""

from __future__ import annotations


class MozgError(Exception):
    """Something the user can act on: one line with what was found, what was expected and what to do."""
