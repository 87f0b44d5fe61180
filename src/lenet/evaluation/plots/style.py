"""The style of every picture: figure, colours, axes, and a PNG with the same bytes for the same input.

Without pyplot: it keeps figures in a global register, and its import takes longer than drawing does. The colours are
those of Okabe and Ito (2008), which people with any of the common colour blindnesses can distinguish.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet.core.atomic_io import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200  # shown at half its size, a picture is sharp on a dense screen
MARGIN = 0.12  # inches of white around a picture and between its panels
TITLE_CHARACTERS_PER_INCH = 9.5
TITLE_LINES = 2
PALETTE = 256  # colours in a file: with so many no eye sees a difference
COMPRESSION = 6  # zlib's level; the highest takes three times as long for files smaller by a fiftieth
MARKED_EPOCHS = 30  # up to so many epochs each has its dot
FEW_TICKS = 6.0  # a logarithmic axis that spans a smaller ratio has linear ticks, or it would have one or none
FEW_ERROR_TICKS = 3.0  # the same for an axis of errors, whose ticks are denser
AXIS_BEGINS = 0.93  # times its least value, by matplotlib's margin
FIRST_SPAN = 3.0  # up to so many times its least value it has these in each factor of ten, as far as there is room:
FIRST_TICKS = (1.5, 3.0, 4.0, 6.0, 7.0, 8.0)
TICK_INCHES = 0.13  # between two ticks at the least
PANEL_SHARE = 0.7  # of a panel's height, what its axis has

INK, SOFT, LINE = "#1c1e21", "#5c6470", "#d9dde3"
BLUE, ORANGE = "#0072B2", "#D55E00"
CYCLE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")

History = Sequence[Mapping[str, float]]


def clean(text: str, limit: int) -> str:
    """Return the text on one line, cut to so many characters."""
    # A line break, a control character or half a surrogate pair in a name would break the layout or the font engine.
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of so many inches, its title wrapped to its width."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rcParams["text.parse_math"] = False  # "$_{" in a run's name is no formula
    layout = ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")
    columns = int(width * TITLE_CHARACTERS_PER_INCH)
    lines = textwrap.wrap(clean(title, 1000), columns, max_lines=TITLE_LINES, placeholder=" …")
    if lines:
        figure.suptitle("\n".join(lines), x=MARGIN / width, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG of few colours; the old file stays whole until the new one is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which needs no line on the terminal for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.draw()  # type: ignore[no-untyped-call]
    # A palette makes the file a quarter as large as savefig's, and without savefig no version or date gets into it.
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(pixels).convert("RGB")
    picture = picture.quantize(PALETTE, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=COMPRESSION, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))


def style(axes: Axes, heading: str, x: str = "", y: str = "") -> None:
    """Give a panel its heading, its axis labels and the style that all panels share."""
    axes.set_title(heading, loc="left", fontsize=9.5, color=INK, pad=7)
    axes.set_xlabel(x, fontsize=8.5, color=SOFT)
    axes.set_ylabel(y, fontsize=8.5, color=SOFT)
    axes.tick_params(labelsize=8.5, colors=SOFT, length=0)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)


def legend(axes: Axes, handles: Sequence[Any], names: Sequence[str], **position: Any) -> None:
    """Explain the handles by these names, whatever characters they begin with."""
    # The texts are set afterwards, for matplotlib leaves out a label that begins with an underscore.
    legend = axes.legend(handles, ["name"] * len(names), frameon=False, fontsize=8.5, labelcolor=INK, **position)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def sentence(axes: Axes, sentence: str) -> None:
    """Put a sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", fontsize=11, color=SOFT)


def log_ticks(low: float, high: float, gap: float) -> list[float]:
    """Return round numbers for a logarithmic axis from `low` to `high`, more of them where it begins.

    Errors fall from tens of percent to half of one and stay there: what is compared lies near the least.

    Args:
        low: the least value, above 0.
        high: the largest.
        gap: of the axis' length, what two ticks are apart at the least.
    """
    apart = gap * math.log10(high / low)
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    found: list[float] = []
    for digits, end in (((1.0,), high), ((2.0, 5.0), high), (FIRST_TICKS, FIRST_SPAN * low)):
        for tick in (float(f"{digit * 10.0**decade:.6g}") for decade in decades for digit in digits):
            if low <= tick <= end and all(abs(math.log10(tick / other)) >= apart for other in found):
                found.append(tick)
    return sorted(found)


def scale(axes: Axes, values: Iterable[float], unit: str = "") -> None:
    """Make the y axis logarithmic where the values allow it; a zero then leaves the picture through its floor."""
    from matplotlib import ticker

    seen = np.asarray(list(values), dtype=np.float64)
    seen = seen[np.isfinite(seen) & (seen > 0)]
    if seen.size:
        axes.set_yscale("log")
        grid, whole = axes.get_gridspec(), axes.get_figure(root=True)
        assert grid is not None
        assert whole is not None
        gap = TICK_INCHES / (PANEL_SHARE * whole.get_figheight() / grid.nrows)
        if seen.max() / seen.min() < FEW_ERROR_TICKS:
            axes.yaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        else:
            axes.yaxis.set_major_locator(
                ticker.FixedLocator(log_ticks(AXIS_BEGINS * float(seen.min()), float(seen.max()), gap))
            )
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}{unit}")


def epoch_axis(axes: Axes, epochs: Sequence[float]) -> None:
    """Make the x axis one of whole epochs, with room for the first and the last dot."""
    from matplotlib import ticker

    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True, min_n_ticks=1))
    first, last = min(epochs), max(epochs)
    margin = max(0.03 * (last - first), 0.25)
    axes.set_xlim(first - margin, last + margin)


def series(history: History, key: str) -> tuple[list[float], list[float]]:
    """Return the epochs that have the key, and its values there."""
    rows = [row for row in history if key in row]
    return [row["epoch"] for row in rows], [row[key] for row in rows]
