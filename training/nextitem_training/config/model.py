"""[model]: the session model."""

from __future__ import annotations

from dataclasses import dataclass

from nextitem_training.config.checks import above_zero, at_least, not_negative, share
from nextitem_training.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """The session model. Defaults of the body are those of Transformers4Rec."""

    body: str = "xlnet"
    pretraining: str = "mlm"
    d_model: int = 64
    """D: width of the item embedding, of the body and of the query."""
    layers: int = 2
    heads: int = 4
    dropout: float = 0.3
    layer_norm_eps: float = 0.03
    initializer_range: float = 0.01
    side_width: int = 16
    """Width of the embedding of every feature but the item."""
    normalize: bool = False
    """Scale queries and item embeddings to length 1 before they are compared."""
    temperature: float = 1.0
    """Scores are divided by it; 0.07 suits `normalize = true`."""
    item_dropout: float = 0.0
    """In training, dropout of the item embeddings that queries are compared with (CORE)."""
    item_bias: bool = False
    """Learn a number for each item that is added to its score."""
    mask_probability: float = 0.3
    """MLM and RTD: share of a session's interactions that is hidden; PLM: that is predicted."""
    generator_share: float = 0.5
    """RTD: the generator's width and heads as a share of the body's (the paper: a quarter to half)."""
    detection_weight: float = 1.0
    """RTD: weight of the detection loss beside the losses over items, see docs/pretraining.md."""
    compat: str = ""
    """Another program's way of masking and of reading the prediction, for models trained there:
    transformers4rec, or none."""

    def __post_init__(self) -> None:
        for name in ("d_model", "layers", "heads", "side_width"):
            at_least("model", name, getattr(self, name), 1)
        for name in ("temperature", "layer_norm_eps", "initializer_range"):
            above_zero("model", name, getattr(self, name))
        share("model", "dropout", self.dropout)
        share("model", "item_dropout", self.item_dropout)
        if not 0 < self.mask_probability < 1:
            raise ConfigError(f"[model] mask_probability is {self.mask_probability}; it has to be between 0 and 1.")
        if not 0 < self.generator_share <= 1:
            raise ConfigError(f"[model] generator_share is {self.generator_share}; it has to be above 0 and at most 1.")
        not_negative("model", "detection_weight", self.detection_weight)
        if self.d_model % (2 * self.heads):
            raise ConfigError(
                f"[model] d_model is {self.d_model} with {self.heads} heads; every head needs an "
                f"even width, so d_model has to be a multiple of {2 * self.heads}."
            )
