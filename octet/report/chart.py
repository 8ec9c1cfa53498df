"""Speed against divergence: each engine's int8 model as one dot, as SVG that reads in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from octet.core.errors import OctetError
from octet.core.files import write_text
from octet.core.folder import ModelFolder
from octet.report import peers
from octet.report.peers import PeersFigures

NAMES = {
    peers.OCTET: "Octet",
    peers.NCNN2INT8: "ncnn2int8",
    peers.STATIC_QDQ: "ONNX Runtime",
    peers.OCTET_IN_ONNX_RUNTIME: "Octet in ONNX Runtime",
    peers.NNCF: "OpenVINO",
    peers.OCTET_IN_OPENVINO: "Octet in OpenVINO",
}
# All lengths are in pixels of the SVG, which is as wide as a README on GitHub shows it, for two panels.
_WIDE, _HIGH = 368, 300  # of a panel's plot
_LEFT, _RIGHT, _TOP, _GAP, _BELOW = 64, 20, 40, 48, 56  # beside and between the plots
_CORNER = (_WIDE - 60, _HIGH - 26, _WIDE, _HIGH)  # where « better » stands
_TEXT, _CHARACTER, _BOLD = 15, 0.56, 0.64  # a label's size, and how wide its characters are on the average, in sizes
_STYLE = """
.chart { --ink: #1c2127; --muted: #5b6570; --line: #d5dbe1; --int8: #cf6a1d; --peer: #2f6fb3; }
@media (prefers-color-scheme: dark) {
  .chart { --ink: #e7eaee; --muted: #9aa4af; --line: #3a424b; --int8: #f2954c; --peer: #6ba6e8; }
}
.chart text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--muted); }
.chart .title { font-size: 16px; font-weight: 600; fill: var(--ink); }
.chart .label { font-size: 15px; fill: var(--ink); }
.chart .octet .label { font-weight: 700; fill: var(--int8); }
.chart .better { font-style: italic; }
.chart line { stroke: var(--line); }
.chart .error { stroke: var(--peer); stroke-width: 2; } .chart circle { fill: var(--peer); }
.chart .octet .error { stroke: var(--int8); } .chart .octet circle { fill: var(--int8); }
"""


@dataclass(frozen=True)
class Box:
    """A rectangle that no label may cover."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Do the two have a point in common?"""
        apart = self.right < other.left or other.right < self.left
        return not (apart or self.bottom < other.top or other.bottom < self.top)

    def inside(self, other: Box) -> bool:
        """Is the other all around this one?"""
        within = self.left >= other.left and self.right <= other.right
        return within and self.top >= other.top and self.bottom <= other.bottom


@dataclass(frozen=True)
class Dot:
    """One int8 model. speed: of ncnn fp32's; kl and kl_se: in 10⁻⁵ nats."""

    name: str
    speed: float
    kl: float
    kl_se: float


def dots(figures: PeersFigures) -> list[Dot]:
    """The int8 models of a comparison, Octet's first."""
    measured = peers.int8(figures)
    return [
        Dot(NAMES[name], figures.speed(engine), 1e5 * engine.divergence.kl_nats, 1e5 * engine.divergence.kl_se_nats)
        for name in NAMES
        if (engine := measured.get(name)) and engine.divergence
    ]


def write(folders: Sequence[ModelFolder], out: Path) -> None:
    """Writes the chart of those of the models that were measured beside other engines, each in a panel of its own.

    Raises:
        OctetError: None of them was.
    """
    panels = {folder.name: dots(peers.read(folder.peers)) for folder in folders if folder.peers.is_file()}
    panels = {name: panel for name, panel in panels.items() if panel}
    if not panels:
        wanted = " and ".join(str(folder.peers) for folder in folders)
        raise OctetError(f"{wanted}: nothing to draw; 'make bench-peers' measures it")
    write_text(out, chart(panels))


def chart(panels: Mapping[str, Sequence[Dot]]) -> str:
    """The SVG.

    Args:
        panels: By title, the dots of each; they share the axis of the divergences.
    """
    every = [dot for panel in panels.values() for dot in panel]
    low, high = (
        _step_below(min(dot.kl - dot.kl_se for dot in every) / 2),
        _step_above(max(d.kl + d.kl_se for d in every)),
    )
    parts, about = [], []
    for k, (title, panel) in enumerate(panels.items()):
        axes = _Axes(math.ceil(2.3 * max(dot.speed for dot in panel)) / 2, low, high)
        parts.append(_panel(title, panel, axes, _LEFT + k * (_WIDE + _GAP), k == 0))
        about.append(f"{title}: " + ", ".join(f"{dot.name} {dot.speed:.2f} times, {dot.kl:.1f}" for dot in panel))
    width, height = _LEFT + len(panels) * (_WIDE + _GAP) - _GAP + _RIGHT, _TOP + _HIGH + _BELOW
    label = escape(f"Speed, and KL divergence from fp32 in 10⁻⁵ nats, of int8 models. {'; '.join(about)}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px" role="img" aria-label="{label}">\n<style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


@dataclass(frozen=True)
class _Axes:
    """Speeds go from 0 to `most`; divergences, on a logarithmic axis, from `low` to `high`."""

    most: float
    low: float
    high: float

    def x(self, speed: float) -> float:
        return _WIDE * speed / self.most

    def y(self, kl: float) -> float:
        return _HIGH * math.log(self.high / kl) / math.log(self.high / self.low)


def _panel(title: str, panel: Sequence[Dot], axes: _Axes, left: float, first: bool) -> str:
    """A plot; only the first names the divergences."""
    parts = [f'<g transform="translate({left} {_TOP})">', f'<text class="title" y="-16">{escape(title)}</text>']
    for kl in _steps(axes.low, axes.high):
        y = axes.y(kl)
        parts.append(f'<line x2="{_WIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if first:
            parts.append(f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{kl:g}</text>')
    for speed in range(0, math.floor(axes.most) + 1, 1 if axes.most < 8 else 2):
        x = axes.x(speed)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_HIGH}" y2="{_HIGH + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HIGH + 21}" text-anchor="middle">{speed}×</text>')
    parts.append(
        f'<text x="{_WIDE / 2}" y="{_HIGH + 45}" text-anchor="middle">speed of ncnn fp32, one thread → faster</text>'
    )
    parts.append(f'<text class="better" x="{_WIDE - 2}" y="{_HIGH - 9}" text-anchor="end">better ↘</text>')
    if first:
        turned = f'transform="translate(-46 {_HIGH / 2}) rotate(-90)"'
        parts.append(f'<text {turned} text-anchor="middle">closer to fp32 ← KL divergence, 10⁻⁵ nats</text>')
    for dot, place in zip(panel, _places(panel, axes), strict=True):
        over, under = axes.y(dot.kl + dot.kl_se), axes.y(max(dot.kl - dot.kl_se, axes.low))
        at = axes.x(dot.speed)
        octet = _is_octets(dot)
        if place.far:
            to = f'x2="{place.x:.1f}" y2="{place.baseline - 5:.1f}"'
            parts.append(f'<line x1="{at:.1f}" y1="{axes.y(dot.kl):.1f}" {to}/>')
        parts.append(
            f'<g class="{"octet" if octet else "peer"}">'
            f'<line class="error" x1="{at:.1f}" x2="{at:.1f}" y1="{over:.1f}" y2="{under:.1f}"/>'
            f'<circle cx="{at:.1f}" cy="{axes.y(dot.kl):.1f}" r="{8 if octet else 6}"/>'
            f'<text class="label" x="{place.x:.1f}" y="{place.baseline:.1f}" text-anchor="{place.anchor}">'
            f"{escape(_label(dot))}</text></g>"
        )
    return "\n".join([*parts, "</g>"])


def _is_octets(dot: Dot) -> bool:
    return dot.name.startswith(NAMES[peers.OCTET])


def _label(dot: Dot) -> str:
    return f"{dot.name} {dot.kl:.1f}"


@dataclass(frozen=True)
class _Place:
    """Where a label stands: x and baseline; anchor: which of its ends x is; far: does it need a line to its dot?"""

    x: float
    baseline: float
    anchor: str
    far: bool

    def box(self, wide: float) -> Box:
        left = self.x - {"start": 0.0, "middle": wide / 2, "end": wide}[self.anchor]
        return Box(left, self.baseline - _TEXT, left + wide, self.baseline + 4)


def _places(panel: Sequence[Dot], axes: _Axes) -> list[_Place]:
    """Where each dot's label stands: on the first side of it where the label covers nothing, as near as it can be."""
    taken, plot, places = [Box(*_CORNER)], Box(0, -8, _WIDE + 12, _HIGH), []
    for dot in panel:
        x, y = axes.x(dot.speed), axes.y(dot.kl)
        taken.append(Box(x - 10, min(y - 10, axes.y(dot.kl + dot.kl_se)), x + 10, y + 10))
    for dot in panel:
        wide = _TEXT * (_BOLD if _is_octets(dot) else _CHARACTER) * len(_label(dot))
        sides = list(_sides(axes.x(dot.speed), axes.y(dot.kl)))
        boxes = [side.box(wide) for side in sides]
        free = [k for k, box in enumerate(boxes) if box.inside(plot) and not any(box.overlaps(t) for t in taken)]
        best = free[0] if free else 0
        taken.append(boxes[best])
        places.append(sides[best])
    return places


def _sides(x: float, y: float) -> Iterator[_Place]:
    """The places around a dot for its label, the nearest first."""
    for away in range(0, 260, 10):
        yield _Place(x + 14 + away, y + 5, "start", away > 0)
        yield _Place(x - 14 - away, y + 5, "end", away > 0)
        for anchor, right in (("middle", 0), ("start", 10 + away / 2), ("end", -10 - away / 2), ("end", 100)):
            yield _Place(x + right, y - 16 - away, anchor, away > 0)
            yield _Place(x + right, y + 26 + away, anchor, away > 0)


def _steps(low: float, high: float) -> list[float]:
    """1, 3, 10, 30, … from low to high."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step for k in exponents for step in (10.0**k, 3 * 10.0**k) if low <= step <= high]


def _step_below(value: float) -> float:
    return max(step for step in _steps(value / 30, value))


def _step_above(value: float) -> float:
    return min(step for step in _steps(value, value * 30))
