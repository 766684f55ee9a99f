"""Which hyperparameters the losses of a search hang on."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

LEAST = 8  # full trainings below which a forest says nothing


def importance(study: Any) -> dict[str, float]:
    """Share of the variation by hyperparameter (fANOVA); empty where it cannot be said.

    Reference: Hutter et al. 2014, https://proceedings.mlr.press/v32/hutter14.html
    """
    full = [o for o in study.searched if o.trial.steps == study.plan.steps]
    if len(full) < LEAST or len({o.validation for o in full}) < 2:
        return {}
    if any(importlib.util.find_spec(name) is None for name in ("optuna", "sklearn")):
        return {}
    with warnings.catch_warnings():
        # In a notebook without ipywidgets tqdm warns, of a bar that is never shown.
        warnings.filterwarnings("ignore", "IProgress not found")
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    evaluator = FanovaImportanceEvaluator(seed=0)
    return dict(get_param_importances(study.to_optuna(), evaluator=evaluator))
