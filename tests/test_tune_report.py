"""The report: one file that refers to nothing outside itself, with every picture and warning."""

from __future__ import annotations

import base64
import html
import html.parser
import re

import numpy as np
import pytest
from matplotlib.image import imread
from tune_synthetic import SPACE, Surface, synthetic_task

from functional_adam.tune import Dimension, Study, adamw_space, tune
from functional_adam.tune.report._html import _lower

PICTURES = ("default_and_tuned", "learning_rate", "isolation", "curves", "enough")


class Page(html.parser.HTMLParser):
    """What a browser would load, and the text it would show."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.links, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            self.images.append(values)
        self.links += [v for k, v in attributes if k in ("href", "src") and "data:" not in v]
        assert tag not in ("script", "link", "iframe")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def run(surface=None, **options):
    options = {"budget": 48.0, "space": SPACE, "seed": 3, **options}
    return tune(synthetic_task(), engine=(surface or Surface()).engine, **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    study = run(out=out)
    study.log.append(dict(kind="probe", dtype="float16", verdict=["eps <1e-8> becomes 0."]))
    return study, study.report()


def test_it_is_one_file_that_needs_no_other(written):
    study, path = written
    assert path == study.folder / "report.html"
    page = Page(path.read_text())
    assert page.open == []
    assert page.links == []
    assert len(page.images) == len(PICTURES)
    for image in page.images:
        assert image["alt"]
        head, data = image["src"].split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG\r\n\x1a\n")


def test_pictures_stand_beside_it(written):
    study, _ = written
    names = sorted(path.stem for path in study.folder.glob("*.png"))
    assert names == sorted(PICTURES)
    for name in names:
        picture = imread(study.folder / f"{name}.png")
        assert picture.shape[0] > 200 < picture.shape[1]
        assert len(np.unique(picture[..., 0])) > 20
    assert not list(study.folder.glob(".*"))


def test_it_says_what_was_found(written):
    study, path = written
    text = " ".join("".join(Page(path.read_text()).texts).split())
    best = study.best
    assert f"{best.validation:.4g} ± {best.error:.2g}" in text
    assert f"On held-out data, which nothing was chosen by: {best.held_out:.4g}" in text
    for value in ("learning_rate", "b1", "b2", "weight_decay", "What mattered", "Sampled enough?"):
        assert value in text
    assert f"{best.config['learning_rate']:.6g}" in text
    assert "eps <1e-8> becomes 0." in text
    assert f"{len(study.trained)} trainings" in text
    assert "torch.optim.AdamW(" in text
    for warning in study.warnings:
        assert " ".join(warning.split()) in text


def test_the_valley_in_the_learning_rate_matters_most(written):
    text = "".join(Page(written[1].read_text()).texts)
    first = re.search(r"share of the variation\s*(\S[^0-9]*?)\d+%", text)
    assert first is not None
    rows = re.findall(r"<tr><td>([^<]*)</td><td>(\d+)%</td></tr>", written[1].read_text())
    assert sum(int(share) for _, share in rows) in range(97, 104)


def test_names_are_escaped(tmp_path):
    study = tune(
        synthetic_task(name="<b>&"), budget=8.0, space=SPACE, engine=Surface().engine, out=tmp_path
    )
    text = study.report().read_text()
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text


def test_an_unfinished_study_is_reported(tmp_path):
    run(out=tmp_path, budget=16.0)
    path = tmp_path / "study.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:12]))
    text = Study.load(tmp_path).report(tmp_path / "elsewhere").read_text()
    assert text.count("no configuration has been chosen") + text.count("No configuration") == 1
    assert "the study is not finished" in text


def test_every_kind_of_dimension_and_diverged_trainings_are_drawn(tmp_path):
    space = adamw_space("amsgrad", "warmup", "final", "dialect", steps=200)
    space = space.with_(learning_rate=Dimension("learning_rate", 1e-3, 10.0, "log", default=1e-3))
    study = run(space=space, budget=32.0, strategy="random")
    assert study.diverged
    text = study.report(tmp_path).read_text()
    assert "1 of" in text or "diverged" in text
    assert (tmp_path / "isolation.png").stat().st_size > 20_000


def test_a_study_in_memory_needs_a_folder():
    study = run(budget=8.0)
    with pytest.raises(ValueError, match="say where to write the report"):
        study.report()


@pytest.mark.parametrize(
    ("tuned", "untuned", "words"),
    [
        (0.07, 0.14, ": 50% lower"),
        (0.015, 5.58, ": 372 times lower"),
        (0.2, 0.1, ""),
        (-2.0, -1.0, ""),
    ],
)
def test_by_how_much_it_is_lower(tuned, untuned, words):
    assert _lower(tuned, untuned) == words


@pytest.mark.parametrize(
    "losses", [(0.087, 0.19), (0.3, 2.4), (0.01, 2.0), (1.31, 1.33), (0.15, 2.3), (0.05, 2.8)]
)
def test_an_axis_of_losses_says_what_they_are(losses):
    """At least three numbers within the picture, also where all losses lie within a decade."""
    from matplotlib.figure import Figure

    from functional_adam.tune.report._axes import scale_losses

    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(losses)
    scale_losses(axes, losses)
    figure.canvas.draw()
    low, high = axes.get_ylim()
    labels = zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    assert sum(bool(text.get_text()) and low <= y <= high for text, y in labels) >= 3
