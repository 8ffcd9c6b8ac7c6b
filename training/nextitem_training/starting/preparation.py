"""What a new model takes from the training data, and from vectors made elsewhere, before it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nextitem_training.config import Config
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.inputs.pretrained import PretrainedItems
from nextitem_training.model import SessionModel
from nextitem_training.tables.vectors import PretrainedVectors

if TYPE_CHECKING:
    from nextitem_training.workflow import ValueCounts


def prepare(
    model: SessionModel,
    training: EncodedSessions,
    items: ValueCounts,
    config: Config,
    pretrained: PretrainedVectors | None = None,
) -> None:
    """Gives the heads the statistics of their targets, the loss the items' counts, and the inputs the pretrained vectors.

    Args:
        training: whole sessions with the heads' columns.
        items: the item column's vocabulary.
        pretrained: as `read_pretrained` gives them.

    Raises DataError where the pretrained vectors are of other items.
    """
    for head in model.heads:
        head.take_statistics(training.features[head.column])
    model.criterion.take_counts(items.counts)
    if pretrained is not None and isinstance(model.inputs.pretrained, PretrainedItems):
        model.inputs.pretrained.fill(pretrained.rows(items.values))
