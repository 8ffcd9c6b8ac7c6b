"""What a pre-training objective is and which there are.

n is the number of a session's real steps, those whose item code is not PADDING.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import nn

from nextitem_training.config import ModelConfig
from nextitem_training.config.attention import AttentionKind
from nextitem_training.config.registry import Registry
from nextitem_training.errors import ConfigError
from nextitem_training.heads import PredictionHead
from nextitem_training.inputs import ImportedInputs, InteractionInputs
from nextitem_training.special_ids import PADDING

BuildBody = Callable[[int, int], nn.Module]
"""(d_model, heads) → a further body of the model's kind, of these measures."""


class Targets(NamedTuple):
    """What the body reads in training and what it has to predict."""

    inputs_embeds: torch.Tensor
    """float32 [B, S, D]; bodies blank padded steps themselves."""
    mask: torch.Tensor
    """bool [B, S], True where a step is real."""
    items: torch.Tensor
    """int64 [B, S]: the item code to predict from each step; PADDING where there is none."""
    visible: torch.Tensor | None = None
    """bool [B, S, S], for permutation alone: whether the query of step i sees step j."""


class Prediction(NamedTuple):
    """What the body reads at inference and where the query is found."""

    inputs_embeds: torch.Tensor
    """float32 [B, S, D]."""
    mask: torch.Tensor
    """bool [B, S]."""
    position: torch.Tensor
    """int64 [B]: the step whose hidden state is the query."""
    visible: torch.Tensor | None = None
    """As in Targets."""


class Learner(Protocol):
    """What an objective needs of the model that it trains, SessionModel."""

    item_feature: str
    item_weight: float
    inputs: InteractionInputs | ImportedInputs
    body: nn.Module
    heads: Iterable[PredictionHead]

    def hidden(self, given: Targets) -> torch.Tensor:
        """What the body makes of it: float32 [B, S, D]."""
        ...

    def item_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores of the known items alone: float32 [N, D] → float32 [N, V - 3]."""
        ...

    def item_loss(self, hidden: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Its sum over the targets and their number, of hidden float32 [B, S, D] and items int64 [B, S]."""
        ...


class Objective(nn.Module):
    """Hides whole interactions, side features too, and says what is predicted from where."""

    attention: AttentionKind
    """What the body has to do."""
    extra_steps: int
    """Steps that inference adds to the session."""

    def __init__(self, config: ModelConfig, build_body: BuildBody) -> None:
        """An objective that trains a second body makes it with `build_body`."""
        super().__init__()

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """Makes a training batch of embedded float32 [B, S, D] and items int64 [B, S]."""
        raise NotImplementedError

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """Makes an inference batch of embedded float32 [B, T, D] and items int64 [B, T]."""
        raise NotImplementedError

    def loss(self, model: Learner, features: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """What training makes small: sum and number of targets, as in `SessionModel.loss`."""
        targets = self.targets(model.inputs(features), features[model.item_feature])
        hidden = model.hidden(targets)
        missed, count = model.item_loss(hidden, targets.items)
        return model.item_weight * missed + count * self.head_loss(model, hidden, targets.items, features), count

    def at_predicted(self, values: torch.Tensor) -> torch.Tensor:
        """A column's values at the interactions that the steps of `targets` predict: [B, S] → [B, S'].

        As it is where a step predicts what was hidden there.
        """
        return values

    def head_loss(
        self, model: Learner, hidden: torch.Tensor, items: torch.Tensor, features: Mapping[str, torch.Tensor]
    ) -> torch.Tensor | float:
        """The weighted losses of the model's heads, over the interactions that are predicted.

        Args:
            hidden: float32 [B, S', D], the body's.
            items: int64 [B, S'], as in Targets.
        """
        asked = items != PADDING
        losses = (h.weight * h.loss(hidden, self.at_predicted(features[h.column]), asked) for h in model.heads)
        return sum(losses, 0.0)


def learned_step(config: ModelConfig) -> nn.Parameter:
    """A vector [D] to be learned, such as [MASK]."""
    step = nn.Parameter(torch.empty(config.d_model))
    nn.init.normal_(step, std=config.initializer_range)
    return step


OBJECTIVES: Registry[type[Objective]] = Registry("pre-training objective", __package__)

COMPATS: Registry[Mapping[str, type[Objective]]] = Registry("compatibility (compat)", __package__)
"""Other programs' ways: what stands in for the objective of each name."""


def objective_for(config: ModelConfig) -> type[Objective]:
    """Looks up `pretraining` and `compat`. Raises ConfigError on a miss."""
    objective = OBJECTIVES.get(config.pretraining)
    if not config.compat:
        return objective
    theirs = COMPATS.get(config.compat)
    if config.pretraining not in theirs:
        raise ConfigError(
            f"compat = '{config.compat}' knows no pretraining '{config.pretraining}'; it has {', '.join(theirs)}."
        )
    return theirs[config.pretraining]
