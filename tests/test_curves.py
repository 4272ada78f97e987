"""The curves of docs/performance.md: every circle that they are drawn with was measured."""

from __future__ import annotations

from dataclasses import replace

from mozg.curves import read_points, wanted


def test_the_file_holds_every_point_once():
    points = read_points()
    assert all(point.cycles > 0 for point in points)
    assert len(points) == len(wanted()) and {replace(point, cycles=0.0) for point in points} == set(wanted())
