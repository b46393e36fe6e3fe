"""The inputs of models/features.py in the layout of pytorch-forecasting's forward(), to compare both passes."""

import torch
from torch import Tensor


def library_inputs(x: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of features.py in the layout of pytorch-forecasting's forward()."""
    rows, steps, _ = x["observed"].shape
    total = x["known"].shape[1]
    observed = torch.nn.functional.pad(x["observed"], (0, 0, 0, total - steps))
    known, calendar = x["known"].expand(rows, -1, -1), x["calendar"].expand(rows, -1, -1)
    reals = torch.cat([x["static_reals"][:, None].expand(-1, total, -1), known, observed], -1)
    cats = torch.cat([x["static"][:, None].expand(-1, total, -1), calendar], -1)
    return {
        "encoder_cont": reals[:, :steps],
        "decoder_cont": reals[:, steps:],
        "encoder_cat": cats[:, :steps],
        "decoder_cat": cats[:, steps:],
        "encoder_lengths": torch.full((rows,), steps, device=reals.device),
        "decoder_lengths": torch.full((rows,), total - steps, device=reals.device),
        "target_scale": torch.ones(rows, 2, device=reals.device),
    }
