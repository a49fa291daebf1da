"""The JSON of a run as SVG pictures: bars for the servers, curves for how cost grows.

Usage: python -m benchmarks.plot RESULTS.json PICTURE.svg
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

COLOURS = {
    "floor": "#9aa5b1",
    "ours": "#1565c0",
    "stepflow-py 0.7.0": "#ef6c00",
    "stepflow-py 0.10.0": "#c62828",
    "mcp 2.3.0": "#6a1b9a",
    "fastmcp 4.1.2": "#2e7d32",
}
CURVES = ("#1565c0", "#ef6c00", "#2e7d32", "#c62828", "#6a1b9a", "#00838f", "#9e9d24", "#4e342e")
WIDTH = 900
LEFT = 390
BAR = 11
UNITS = {"cpu_us": ("µs", 1.0), "seconds": ("ms", 1e3), "start_ms": ("ms", 1.0), "peak_mb": ("MB", 1.0)}

Cells = dict[str, float]


def draw(results: Mapping[str, Any]) -> str:
    """A picture of what a run of ``scripts/bench --json`` found."""
    body, height = _curves(results["growth"]) if "growth" in results else _bars(results["rows"])
    style = "text{font:12px system-ui,sans-serif;fill:#222}.t{font-weight:600}.s{font-size:10px;fill:#555}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>\n'
    )


def _bars(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """One group of bars for each row, each with a logarithmic scale of its own unit."""
    names = [name for name in COLOURS if any(name in row["rounds"] for row in rows)]
    body = [f'<text class="t" x="10" y="20">{escape(_bars_title(rows))}</text>']
    for index, name in enumerate(names):
        x = 10 + 140 * index
        body.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{COLOURS[name]}"/>')
        body.append(_text(x + 14, 39, name))
    y = 54
    for row in rows:
        figure = row["goals"][0]["figure"]
        unit, scale = UNITS[figure]
        cells = {
            name: median(one[figure] for one in row["rounds"][name]) * scale
            for name in names
            if _has(row, name, figure)
        }
        if not cells:
            continue
        body.append(_text(10, y + 10, f"{row['title']}, {row['transport']}"))
        lowest = min(cells.values())
        widest = math.log10(max(cells.values()) / lowest) + 0.25
        for name, value in cells.items():
            length = (math.log10(value / lowest) + 0.25) / widest * (WIDTH - LEFT - 90)
            body.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{COLOURS[name]}"/>')
            body.append(_text(LEFT + length + 5, y + 8, f"{value:.3g} {unit}", "s"))
            y += BAR
        y += 9
    return body, y + 4


def _bars_title(rows: Sequence[Mapping[str, Any]]) -> str:
    transports = " and ".join(sorted({row["transport"] for row in rows}, reverse=True))
    return f"What a request costs the server over {transports} (logarithmic, shorter is better)"


def _has(row: Mapping[str, Any], name: str, figure: str) -> bool:
    return any(figure in one for one in row["rounds"].get(name, ()))


def _curves(growth: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """All series in one picture with two logarithmic scales."""
    left, top, width, height = 70, 40, 480, 420
    points = [(point["size"], point["seconds"]) for curve in growth for point in curve["points"]]
    sizes = (0.0, math.ceil(math.log10(max(size for size, _ in points))))
    costs = (
        math.floor(math.log10(min(cost for _, cost in points))),
        math.ceil(math.log10(max(cost for _, cost in points))),
    )

    def at(size: float, seconds: float) -> tuple[float, float]:
        x = left + (math.log10(size) - sizes[0]) / (sizes[1] - sizes[0]) * width
        y = top + height - (math.log10(seconds) - costs[0]) / (costs[1] - costs[0]) * height
        return x, y

    body = ['<text class="t" x="10" y="20">How cost grows (seconds; both scales logarithmic)</text>']
    for power in range(int(sizes[1]) + 1):
        x, _ = at(10**power, 10.0 ** costs[0])
        body.append(f'<path d="M{x:.0f} {top}V{top + height}" stroke="#eee"/>')
        body.append(_text(x - 8, top + height + 16, f"10^{power}", "s"))
    for power in range(costs[0], costs[1] + 1):
        _, y = at(1, 10.0**power)
        body.append(f'<path d="M{left} {y:.0f}H{left + width}" stroke="#eee"/>')
        body.append(_text(20, y + 4, f"10^{power} s", "s"))
    for index, curve in enumerate(growth):
        body.extend(
            _curve(curve, CURVES[index % len(CURVES)], index >= len(CURVES), at, (left + width + 20, top + 24 * index))
        )
    return body, max(top + height + 30, top + 24 * len(growth) + 20)


def _curve(curve: Mapping[str, Any], colour: str, dashed: bool, at: Any, label: tuple[float, float]) -> Iterator[str]:
    line = "L".join("{:.1f} {:.1f}".format(*at(point["size"], point["seconds"])) for point in curve["points"])
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    x, y = label
    if line:
        yield f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
    yield f'<path d="M{x} {y}h20" stroke="{colour}" stroke-width="2"{dash}/>'
    exponent = "" if curve["exponent"] is None else f": n^{curve['exponent']:.2f}"
    yield _text(x + 26, y + 4, f"{curve['series']}{exponent}")


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{f" class={style!r}" if style else ""}>{escape(text)}</text>'


def main() -> None:
    """Read one file, write the other."""
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(json.loads(source.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
