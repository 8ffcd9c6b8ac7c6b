"""What no weight tells of a model, as its user says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nextitem_training.config.imported import Activation

Masking = Literal["clm", "mlm", "plm", "rtd"]
MASKINGS = ("clm", "mlm", "plm", "rtd")
MASKS = ("original", "proper")


@dataclass(frozen=True)
class Told:
    """Options of nextitem-import; empty or 0 where the user says nothing."""

    masking: Masking
    mask: Literal["original", "proper"] = "original"
    """`original` answers as Transformers4Rec does on a session that is padded to the window, `proper` hides the padding."""
    body: str = ""
    heads: int = 0
    layers: int = 0
    activation: str = "gelu"
    """Of the body, by Hugging Face's name."""
    attention: Literal["bi", "uni"] = "bi"
    """XLNet's attn_type."""
    layer_norm_eps: float = 0.0
    temperature: float = 1.0
    aggregation: str = ""
    mlp_activation: Activation = "relu"
    """Behind each layer of an MLPBlock before the body."""
    task_activation: Activation | Literal[""] = ""
    """Behind each layer between the body and the scores."""
    window: int = 0
    tie_breaker: str = ""

    @property
    def objective(self) -> str:
        """Our name of the objective: RTD answers as MLM does, and its trainer trains so."""
        return "mlm" if self.masking == "rtd" else self.masking

    @property
    def compat(self) -> str:
        """As in [model]."""
        return "transformers4rec" if self.mask == "original" else ""

    def body_attention(self, body: str) -> Literal["", "bidirectional", "causal"]:
        """What XLNet's steps see, where the objective would not say so."""
        if body != "xlnet" or self.masking == "plm":
            return ""
        return "bidirectional" if self.attention == "bi" else "causal"
