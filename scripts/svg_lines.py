"""Panels of lines as SVG, for the pictures of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, GAP = 230, 170, 50, 40, 40
"""Of a panel and its surroundings, in pixels."""


@dataclass(frozen=True)
class Axes:
    """Names and ticks of both axes; `most` is the upper end of y, which begins at 0."""

    x: str
    y: str
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    most: float


def panel(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], axes: Axes, left: float, colours: Mapping[str, str]
) -> list[str]:
    """Axes, and a line of (x, y) for each name."""
    low, high = min(axes.x_ticks), max(axes.x_ticks)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - low) / max(high - low, 1) * WIDTH, TOP + HEIGHT * (1 - y / axes.most)

    parts = [
        f'<text x="{left}" y="{TOP - 14}" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{left},{TOP} V{TOP + HEIGHT} H{left + WIDTH}" fill="none" stroke="black"/>',
        f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 32}" text-anchor="middle">{escape(axes.x)}</text>',
    ]
    for tick in axes.x_ticks:
        at = place(tick, 0)
        parts.append(f'<text x="{at[0]:.1f}" y="{at[1] + 15:.1f}" text-anchor="middle">{tick:g}</text>')
    for tick in axes.y_ticks:
        at = place(low, tick)
        parts.append(f'<text x="{at[0] - 6:.1f}" y="{at[1] + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for name, line in lines.items():
        points = [place(x, y) for x, y in line]
        joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colours[name]}"/>' for a, b in points]
    return parts


def picture(panels: Sequence[list[str]], y: str, colours: Mapping[str, str]) -> str:
    """An SVG with panels side by side, each made for its place by :func:`place_of`, and a legend."""
    width, height = LEFT + max(len(panels) * (WIDTH + GAP), 130 * len(colours)), TOP + HEIGHT + 75
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>',
        f'<text transform="translate(14,{TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y)}</text>',
        *(part for one in panels for part in one),
    ]
    for number, (name, colour) in enumerate(colours.items()):
        x, foot = LEFT + number * 130, TOP + HEIGHT + 58
        parts.append(f'<rect x="{x}" y="{foot - 9}" width="18" height="6" fill="{colour}"/>')
        parts.append(f'<text x="{x + 24}" y="{foot}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def place_of(number: int) -> float:
    """Left end of a panel by its number."""
    return LEFT + number * (WIDTH + GAP)
