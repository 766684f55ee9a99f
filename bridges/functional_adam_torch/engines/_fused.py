"""torch's own fused kernel, where it has one: Adam and AdamW, with `fused=True`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam


def step_adam(optimizer: Any, group: dict[str, Any], lists: list[list[Tensor]]) -> None:
    """Step one group by the kernel of `torch.optim.Adam`, loss scaling included.

    Args:
        optimizer: its `grad_scale` and `found_inf`, if a GradScaler set them, are obeyed.
        group: one of its param_groups.
        lists: what `_init_group` filled: parameters, gradients, three moments, steps.
    """
    b1, b2 = group["betas"]
    params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps = lists
    torch_adam(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        max_exp_avg_sqs,
        steps,
        fused=True,
        capturable=group["capturable"],
        differentiable=group["differentiable"],
        grad_scale=getattr(optimizer, "grad_scale", None),
        found_inf=getattr(optimizer, "found_inf", None),
        has_complex=any(torch.is_complex(p) for p in params),
        decoupled_weight_decay=group["decoupled_weight_decay"],
        amsgrad=group["amsgrad"],
        beta1=b1,
        beta2=b2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )


def unscale(optimizer: Any, grads: list[Tensor]) -> bool:
    """What torch's kernel does of a GradScaler, for engines that stand in for it.

    Divides the gradients by the scale, in place.

    Returns:
        False if one of them is not finite: the step is to be left out.
    """
    found = getattr(optimizer, "found_inf", None)
    if found is not None and found.item():
        return False
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        for g in {id(g): g for g in grads}.values():
            g.div_(scale.to(g.device))
    return True
