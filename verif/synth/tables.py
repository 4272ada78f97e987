"""Tables in plain text."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest entry; numbers to the right, with thousands apart; None is a dash."""

    def text(value: object) -> str:
        if value is None:
            return "-"
        return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else str(value)

    rows = [tuple(row) for row in rows]
    cells = [tuple(heads), *(tuple(text(value) for value in row) for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(heads))]
    right = [any(isinstance(row[k], (int, float)) for row in rows) for k in range(len(heads))]
    lines = (
        "  ".join(
            f"{cell:>{width}}" if left else f"{cell:<{width}}"
            for cell, width, left in zip(row, widths, right, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)
