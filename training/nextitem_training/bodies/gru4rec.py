"""GRU4Rec (Hidasi et al., 2016): a recurrent network, causal by nature."""

from __future__ import annotations

import torch
from torch import nn

from nextitem_training.bodies.attention_masks import without_padding
from nextitem_training.bodies.spec import BodySettings, body

GATES = 3


@body("gru4rec", attention=("causal",))
class Gru4RecBody(nn.Module):
    """GRU layers with dropout on what goes into each and comes out of the last.

    The body alone: the loss over all items stands in place of the paper's ranking losses over
    sampled ones. It has no use for heads, layer norms and initializer_range: weights begin as in
    the paper, uniform between bounds that depend on a matrix's shape (Glorot and Bengio, 2010).
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        between = settings.dropout if settings.layers > 1 else 0.0  # of one layer it warns
        width = settings.d_model
        self.recurrent = nn.GRU(width, width, settings.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(settings.dropout)
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("weight"):
                for gate in parameter.data.chunk(GATES):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.zeros_(parameter)

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D].

        Padding stands to the right, where no real step sees it.
        """
        hidden, _ = self.recurrent(self.dropout(without_padding(inputs_embeds, mask)))
        return self.dropout(hidden)
