"""Replaced token detection (ELECTRA; Clark et al., 2020), beside masked language modelling."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nextitem_training.config import ModelConfig
from nextitem_training.pretraining.cutting import scatter
from nextitem_training.pretraining.mlm import MaskedLanguageModelling
from nextitem_training.pretraining.objective import OBJECTIVES, BuildBody, Learner
from nextitem_training.special_ids import FIRST_KNOWN, PADDING


@OBJECTIVES.register("rtd")
class ReplacedTokenDetection(MaskedLanguageModelling):
    """The body answers at a [MASK] step as with MLM, and learns to tell real items from made-up ones.

    Three losses: the body's own over hidden items, as in MLM; that of a generator, a smaller body
    of the same kind, over items hidden anywhere in the session; and, weighted, the body's
    judgement of each item of the session in which the generator has filled in what was hidden
    from it. Inference is MLM's and needs neither the generator nor the judgement.
    """

    def __init__(self, config: ModelConfig, build_body: BuildBody) -> None:
        super().__init__(config, build_body)
        width, heads = _generator_size(config)
        self.narrow = nn.Linear(config.d_model, width)
        self.generator = build_body(width, heads)
        self.widen = nn.Linear(width, config.d_model)
        self.discriminator = nn.Sequential(
            nn.Linear(config.d_model, config.d_model), nn.GELU(), nn.Linear(config.d_model, 1)
        )
        self.detection_weight = config.detection_weight

    def loss(self, model: Learner, features: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the body does not find, what the generator does not, and what the body misjudges.

        Each counts by its own mean; the targets that are counted are the body's.
        """
        items = features[model.item_feature]
        embedded = model.inputs(features)
        asked = self.targets(embedded, items)
        answer = model.hidden(asked)
        missed, count = model.item_loss(answer, asked.items)
        # Anywhere: MLM hides each session's last item, where the body would learn to look for it.
        hidden = scatter(items, self.mask_probability) & (items >= FIRST_KNOWN)
        real = items != PADDING
        given = self.narrow(self.hide(embedded, hidden))
        guess = self.widen(self.generator(given, real))  # (B, S, D)
        guessed_wrong, guesses = model.item_loss(guess, items * hidden)
        corrupted = self._corrupt(model, guess, hidden, items)
        # The items alone: with its side features left, a replaced item would give itself away,
        # and where they were missing, one would know where to look. Noise would be made-up items too.
        shown = {name: torch.zeros_like(values) for name, values in features.items()}
        shown[model.item_feature] = corrupted
        verdict = self.discriminator(model.body(model.inputs(shown, swapped=False), real)).squeeze(-1)  # (B, S)
        replaced = (corrupted != items).to(verdict.dtype)
        misjudged = nn.functional.binary_cross_entropy_with_logits(verdict, replaced, reduction="none")
        misjudged = (misjudged * real).sum() / real.sum().clamp(min=1)
        beside = guessed_wrong / guesses.clamp(min=1) + self.detection_weight * misjudged
        over_heads = self.head_loss(model, answer, asked.items, features)
        return model.item_weight * (missed + count * beside) + count * over_heads, count

    @torch.no_grad()
    def _corrupt(self, model: Learner, guess: torch.Tensor, hidden: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Draws from the generator at each hidden item, where it may draw the true one: int64 [B, S].

        No gradient goes through the draw (section 2 of the paper).
        """
        chances = model.item_logits(guess[hidden]).softmax(dim=-1)  # (N, V - 3)
        corrupted = items.clone()
        if len(chances):
            corrupted[hidden] = FIRST_KNOWN + torch.multinomial(chances, 1).squeeze(1)
        return corrupted


def _generator_size(config: ModelConfig) -> tuple[int, int]:
    """Width and heads: `generator_share` of the body's, and an even width per head as there."""
    heads = max(1, round(config.heads * config.generator_share))
    width = round(config.d_model * config.generator_share)
    return max(1, width // (2 * heads)) * 2 * heads, heads
