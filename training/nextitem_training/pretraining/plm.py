"""Permutation language modelling (XLNet; Yang et al., 2019)."""

from __future__ import annotations

import torch
from torch import nn

from nextitem_training.config import ModelConfig
from nextitem_training.pretraining.cutting import cut, embed_further_step
from nextitem_training.pretraining.objective import OBJECTIVES, BuildBody, Objective, Prediction, Targets
from nextitem_training.special_ids import FIRST_KNOWN, PADDING


@OBJECTIVES.register("plm")
class PermutationLanguageModelling(Objective):
    """Items are predicted in a random order, each from those before it in that order.

    Nothing is replaced in the input: the body's query stream knows a target's position and not
    its content. At inference all real items are known, and the target is the step after them.
    """

    attention = "permutation"
    extra_steps = 1

    def __init__(self, config: ModelConfig, build_body: BuildBody) -> None:
        super().__init__(config, build_body)
        self.target_share = config.mask_probability

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """Draws a factorisation order per cut session; what comes last in it is predicted.

        In a share of the sessions the order is any and its last part is predicted (section 2.3 of
        the paper); in the others it ends with the session's last item, which alone is predicted,
        as inference does.
        """
        mask, last, further = cut(items)
        length = mask.sum(dim=1, keepdim=True)  # (B, 1)
        # XLNet's positions only weigh a step against others: a query that saw one item alone could
        # not tell whether to predict what precedes or what follows it.
        any_order = further[:, None] & (length > 2)
        drawn = torch.rand(items.shape, device=items.device) + (last & ~any_order)
        earlier = (drawn[:, None, :] < drawn[:, :, None]) & mask[:, None, :]  # (B, S, S): j before i
        share = (self.target_share * length).round().clamp(min=1)
        count = torch.where(any_order, torch.minimum(share, length - 2), (length > 1).to(share.dtype))
        target = mask & (earlier.sum(dim=2) >= length - count)
        # Those given see each other and none of the targets.
        visible = torch.where(target[:, :, None], earlier, (mask & ~target)[:, None, :])
        itself = torch.eye(items.shape[1], dtype=torch.bool, device=items.device)
        # A code without a meaning of its own is worth no prediction.
        wanted = target & (items >= FIRST_KNOWN)
        return Targets(embedded, mask, items * wanted, visible & ~itself)

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """Appends a step and predicts at step n, from where every real item is seen."""
        mask = items != PADDING
        longer = embed_further_step(embedded)  # (B, T + 1, D)
        # No item stands at step n, so that it is hidden from every other step, as padding is.
        return Prediction(longer, nn.functional.pad(mask, (0, 1)), mask.sum(dim=1))
