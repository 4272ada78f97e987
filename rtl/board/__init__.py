"""Boards around the chip: the Radiona ULX3S."""
