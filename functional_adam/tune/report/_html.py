"""The page: words, tables and pictures in one file."""

from __future__ import annotations

import base64
import html
import math
from typing import Any

_CSS = """
:root { color-scheme: light; background: #fff; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: 0.8rem 0; }
td, th { padding: 0.25rem 0.9rem; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; }
img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: 0.9rem; }
figure { margin: 1.2rem 0; } .big { font-size: 1.15rem; }
.warning { background: #FFF6E5; border-left: 4px solid #E0A030; padding: 0.5rem 0.9rem;
           margin: 0.5rem 0; }
pre { background: #F6F6F6; padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
summary { cursor: pointer; }
"""
_TITLES = {
    "default_and_tuned": "Untuned and tuned",
    "learning_rate": "The learning rate",
    "isolation": "Each hyperparameter alone",
    "curves": "Training curves",
    "enough": "Sampled enough?",
}


def page(study: Any, drawn: dict[str, tuple[bytes, str]]) -> str:
    """The whole page; it refers to nothing outside itself."""
    name = html.escape(study.head["task"]["name"])
    body = [
        f"<h1>Adam tuned for {name}</h1>",
        *_summary(study),
        *(f'<p class="warning">{html.escape(text)}</p>' for text in study.warnings),
        *_configuration(study),
    ]
    for key, (png, caption) in drawn.items():
        body += [f"<h2>{_TITLES[key]}</h2>", _figure(key, png, caption)]
    body += [*_importance(study), *_probe(study), *_cost(study), *_code(study)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Adam tuned for {name}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _summary(study: Any) -> list[str]:
    untuned = study.untuned
    try:
        best = study.best
    except ValueError:
        return []  # the warnings say why
    if untuned is None or best.is_default:
        return [
            f'<p class="big">Untuned Adam was kept: validation loss {_pm(best)} on fresh seeds.</p>'
        ]
    lower = _lower(best.validation, untuned.mean)
    text = (
        f'<p class="big">Validation loss on seeds the search had not seen: <b>{_pm(best)}</b>, '
        f"untuned Adam {untuned.mean:.4g} ± {untuned.error:.2g}{lower}.</p>"
    )
    if best.held_out is None:
        return [text]
    before = study.held_out(study.baseline)
    held = f"<p>On held-out data, which nothing was chosen by: {best.held_out:.4g}"
    held += "" if before is None else f", untuned Adam {before:.4g}"
    return [text, held + ".</p>"]


def _lower(tuned: float, untuned: float) -> str:
    """By how much, where losses are positive: per cent, or how many times."""
    if not 0 < tuned < untuned:
        return ""
    ratio = untuned / tuned
    return f": {ratio:.3g} times lower" if ratio > 10 else f": {1 - 1 / ratio:.0%} lower"


def _configuration(study: Any) -> list[str]:
    try:
        best = study.best
    except ValueError:
        return []
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(_value(value))}</td>"
        f"<td>{html.escape(_value(study.baseline.get(name, '')))}</td></tr>"
        for name, value in best.config.items()
    )
    return [
        "<h2>The configuration</h2>",
        f"<table><tr><th></th><th>chosen</th><th>untuned Adam</th></tr>{rows}</table>",
        f"<p>For runs of {best.steps} steps, over which the learning rate rises to its peak "
        "(warmup: for this share of them) and falls by a cosine to a share of it (final: 1 is a "
        "constant rate). dialect is whose Adam it is.</p>",
    ]


def _importance(study: Any) -> list[str]:
    from ._importance import importance

    found = importance(study)
    if not found:
        return []
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{share:.0%}</td></tr>"
        for name, share in sorted(found.items(), key=lambda item: -item[1])
    )
    return [
        "<h2>What mattered</h2>",
        f"<table><tr><th></th><th>share of the variation</th></tr>{rows}</table>",
        "<p>Of the losses of the search's full trainings (fANOVA; of few trainings, a rough "
        "figure: a hyperparameter that was hardly varied cannot show).</p>",
    ]


def _probe(study: Any) -> list[str]:
    probes = [record for record in study.log.records if record["kind"] == "probe"]
    if not probes:
        return []
    last = probes[-1]
    found = "".join(f"<li>{html.escape(line)}</li>" for line in last["verdict"])
    return [f"<h2>Precision: {html.escape(last['dtype'])}</h2>", f"<ul>{found}</ul>"]


def _cost(study: Any) -> list[str]:
    return [
        "<h2>Cost</h2>",
        f"<p>{len(study.trained)} trainings, together as long as {study.cost:.1f} full ones; "
        f"{study.diverged} diverged; {study.seconds:.1f} s of training. Strategy "
        f"{html.escape(study.head['strategy'])}, seed {study.plan.seed}, "
        f"budget {study.plan.runs:g} full trainings.</p>",
    ]


def _code(study: Any) -> list[str]:
    from ..code import WRITERS

    try:
        best = study.best
    except ValueError:
        return []
    found = ["<h2>Code</h2>"]
    for framework in WRITERS:
        try:
            text = html.escape(best.as_code(framework))
        except ValueError as error:
            text = html.escape(str(error))
        found.append(f"<details><summary>{framework}</summary><pre>{text}</pre></details>")
    return found


def _figure(key: str, png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode()
    title = html.escape(_TITLES[key], quote=True)
    return (
        f'<figure><img alt="{title}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _pm(best: Any) -> str:
    error = "" if math.isnan(best.error) else f" ± {best.error:.2g}"
    return f"{best.validation:.4g}{error}"


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
