"""The session model, complete: inputs → pre-training objective → body → query → scores, and heads beside the query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import nn

from nextitem_training.bodies import BODIES, BodySettings, check_combination
from nextitem_training.config import Config, HeadConfig, ImportedConfig, InputsConfig, LossConfig, ModelConfig
from nextitem_training.config.heads import WIDTH
from nextitem_training.heads import HEADS, PredictionHead
from nextitem_training.inputs import ImportedInputs, InteractionInputs
from nextitem_training.inputs.content import ItemContent
from nextitem_training.inputs.imported import layers
from nextitem_training.losses import LOSSES, Items
from nextitem_training.pretraining import Prediction, Targets, objective_for
from nextitem_training.schema import SessionSchema
from nextitem_training.special_ids import FIRST_KNOWN, PADDING


class SessionModel(nn.Module):
    """A session's query and the table of items; their products are the scores.

    Attributes:
        item_feature: name of the feature that holds the item codes; code 0 marks padding.
        feature_names: the features that `query` reads, in the schema's order.
        window: the largest T.
        head_widths: how many numbers each head gives for a session, by its name.
    """

    item_bias: nn.Parameter | None
    output_table: nn.Parameter | None
    inputs: InteractionInputs | ImportedInputs

    def __init__(
        self,
        config: ModelConfig,
        schema: SessionSchema,
        *,
        inputs: InputsConfig | None = None,
        heads: Sequence[HeadConfig] = (),
        loss: LossConfig | None = None,
        imported: ImportedConfig | None = None,
        id_dropout: float = 0.0,
    ) -> None:
        """id_dropout: see [items].

        Raises ConfigError where the body, the objective or their combination is not known, or does not fit the features.
        """
        super().__init__()
        loss, imported = loss or LossConfig(), imported or ImportedConfig()
        check_combination(config.body, config.pretraining)
        objective = objective_for(config)
        self.item_feature = schema.item_feature
        self.feature_names = schema.feature_names
        self.window = schema.window
        self.compat = config.compat
        self.normalize = config.normalize
        self.temperature = config.temperature
        self.item_dropout = nn.Dropout(config.item_dropout)
        if imported.columns:
            self.inputs = ImportedInputs(imported, (inputs or InputsConfig()).aggregation, schema)
        else:
            self.inputs = InteractionInputs(config, schema, inputs, id_dropout)

        def build_body(d_model: int, num_attention_heads: int) -> nn.Module:
            return BODIES.get(config.body).build(
                BodySettings(
                    d_model=d_model,
                    layers=config.layers,
                    num_attention_heads=num_attention_heads,
                    positions=schema.window + objective.extra_steps,
                    dropout=config.dropout,
                    layer_norm_eps=config.layer_norm_eps,
                    initializer_range=config.initializer_range,
                    attention=imported.body_attention or objective.attention,
                    inner=imported.body_width,
                    activation=imported.body_activation,
                )
            )

        self.objective = objective(config, build_body)
        self.body = build_body(config.d_model, config.heads)
        step_width = self.inputs.width if isinstance(self.inputs, ImportedInputs) else config.d_model
        if step_width != config.d_model and hasattr(self.objective, "placeholder"):
            self.objective.placeholder = nn.Parameter(torch.zeros(step_width))  # it stands before the layers
        self.before_body = layers(step_width, imported.before_body, imported.before_activation)
        self.after_body = layers(config.d_model, imported.after_body, imported.after_activation)
        made = nn.ModuleList(HEADS.get(head.kind)(head, config.d_model) for head in heads)
        self.heads = cast("Iterable[PredictionHead]", made)
        self.head_widths = {head.name: WIDTH for head in heads}
        self.item_weight = loss.item_weight
        self.criterion = LOSSES.get(loss.kind)(loss, schema.item_count - FIRST_KNOWN)
        bias = nn.Parameter(torch.zeros(schema.item_count)) if config.item_bias else None
        self.register_parameter("item_bias", bias)
        own = (
            None
            if imported.tied
            else nn.Parameter(torch.zeros(schema.item_count, [config.d_model, *imported.after_body][-1]))
        )
        self.register_parameter("output_table", own)

    @classmethod
    def of(cls, config: Config, schema: SessionSchema) -> SessionModel:
        """The model of a run's whole configuration."""
        return cls(
            config.model,
            schema,
            inputs=config.inputs,
            heads=config.heads,
            loss=config.loss,
            imported=config.imported,
            id_dropout=config.items.id_dropout,
        )

    @property
    def content(self) -> ItemContent | None:
        """What the items table says of items, where there is one."""
        return self.inputs.content if isinstance(self.inputs, InteractionInputs) else None

    def id_table(self) -> torch.Tensor:
        """The items without their content, as float32 [V, D]: a content's vectors are added, and the sum may be normalised."""
        if self.output_table is not None:
            return self.output_table
        return self.inputs.id_table() if isinstance(self.inputs, InteractionInputs) else self.inputs.item_table()

    def item_table(self) -> torch.Tensor:
        """The items as vectors: float32 [V, D], rows of padding, null and unknown included.

        The input embedding itself (tied weights; Press and Wolf, 2017) unless an imported model has another, of length 1 where
        `normalize` is set. Where there is a bias per item, it is one more column, and the query
        ends in 1.
        """
        table = self.inputs.item_table() if self.output_table is None else self.output_table
        return self._item_vectors(table, self.item_bias)

    def query(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What a session asks for: float32 [B, D], one wider with a bias per item; scores are `query @ item_table().T`.

        Args:
            features: [B, T] by name, padded on the right with 0, T from 1 to `window`;
                int64 codes and float32 values. A session without interactions gets a finite
                query that means nothing.
        """
        return self._query(self._asked(features))

    def query_and_heads(self, features: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The query and every head's prediction, from one run of the body.

        Args:
            features: as for `query`.

        Returns:
            The query float32 [B, D], and by head name float32 [B, 1]: of a binary head the
            probability, of a regression the value in the column's unit.
        """
        hidden = self._asked(features)
        return self._query(hidden), {head.name: head.predict(hidden) for head in self.heads}

    def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Scores of all items: float32 [B, V]."""
        return self.query(features) @ self.item_table().T

    def loss(self, features: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The objective's loss: its sum over the targets, a scalar float32, and how many these are, int64.

        Args:
            features: [B, S] by name, S up to `window` + 1, as the last interaction may be a
                target alone; with the heads' columns, float32, NaN where null.
        """
        if self.compat:
            features = self._padded(features, self.window + 1)
        return self.objective.loss(self, features)

    def hidden(self, given: Targets | Prediction) -> torch.Tensor:
        """What the body makes of it: float32 [B, S, D]."""
        embedded = self.before_body(given.inputs_embeds)
        if given.visible is None:
            return self.body(embedded, given.mask)
        return self.body(embedded, given.mask, given.visible)

    def item_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores of the known items alone: float32 [N, D] → float32 [N, V - 3]."""
        return self._query(hidden) @ self.item_table()[FIRST_KNOWN:].T

    def item_loss(self, hidden: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss over the known items that [loss] chooses: its sum over the batch's targets, and how many these are.

        Args:
            hidden: float32 [B, S, D].
            items: int64 [B, S]: the code to be predicted from each step; below FIRST_KNOWN none.
        """
        wanted = items >= FIRST_KNOWN  # (B, S)
        known = Items(lambda: self.item_table()[FIRST_KNOWN:], self._known_rows)
        # Products may be computed in less; what they are computed from is not.
        return self.criterion(self._query(hidden[wanted].float()), known, items[wanted] - FIRST_KNOWN), wanted.sum()

    def fold(self) -> SessionModel:
        """Makes the model smaller for serving where it has content or pretrained vectors; it cannot be saved as it was then."""
        self.inputs.fold()
        return self

    def _padded(self, features: Mapping[str, torch.Tensor], steps: int) -> dict[str, torch.Tensor]:
        """Pads to one length and with 0 alone: other programs' bodies see padded steps."""
        real = features[self.item_feature] != PADDING
        clean = {name: torch.where(real, values, torch.zeros_like(values)) for name, values in features.items()}
        lacking = real.new_zeros(real.shape[0], steps)
        return {name: torch.cat([values, lacking.to(values.dtype)], dim=1)[:, :steps] for name, values in clean.items()}

    def _asked(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The hidden state that inference reads: float32 [B, D]."""
        if self.compat:
            features = self._padded({name: features[name] for name in self.feature_names}, self.window)
        prediction = self.objective.prediction(self.inputs(features), features[self.item_feature])
        hidden = self.hidden(prediction)  # (B, S, D)
        index = prediction.position[:, None, None].expand(-1, 1, hidden.shape[2])
        return hidden.gather(1, index).squeeze(1)

    def _query(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = self.after_body(hidden)
        query = nn.functional.normalize(hidden, dim=-1) if self.normalize else hidden
        query = query / self.temperature
        return query if self.item_bias is None else nn.functional.pad(query, (0, 1), value=1.0)

    def _known_rows(self, places: torch.Tensor) -> torch.Tensor:
        """Rows of `item_table()[3:]`: int64 [...] → float32 [..., D]."""
        items = places + FIRST_KNOWN
        rows = self.inputs.item_rows(items) if self.output_table is None else self.output_table[items]
        return self._item_vectors(rows, None if self.item_bias is None else self.item_bias[items])

    def _item_vectors(self, rows: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """As queries are compared with them: float32 [..., D] and [...]."""
        rows = self.item_dropout(rows)
        rows = nn.functional.normalize(rows, dim=-1) if self.normalize else rows
        return rows if bias is None else torch.cat([rows, bias[..., None]], dim=-1)
