"""All pictures of a report, each with a caption that says how to read it."""

from __future__ import annotations

import io
from typing import Any

from . import _curves, _isolation, _results

Drawn = dict[str, tuple[bytes, str]]
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "grid.color": "#E8E8E8",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
DPI = 130


def pictures(study: Any) -> Drawn:
    """Name -> (PNG, caption); pictures for which there are no data are left out."""
    import matplotlib

    drawn: Drawn = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in (
            ("default_and_tuned", _results.default_and_tuned),
            ("learning_rate", _isolation.fan_picture),
            ("isolation", _isolation.isolation),
            ("curves", _curves.curves),
            ("enough", _results.sampled_enough),
        ):
            found = draw(study)
            if found is not None:
                figure, caption = found
                drawn[name] = (_png(figure), caption)
    return drawn


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
