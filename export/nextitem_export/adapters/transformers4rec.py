"""Models of NVIDIA's Transformers4Rec 23.12 (NextItemPredictionTask), as they are in memory.

Its own forward traces into no graph: `pad_inputs` is scripted over dicts, and masks are written in place. Here its modules
run one after another, with the masks of its inference written as selections. Nothing of Transformers4Rec is imported:
classes are known by their names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .._errors import UnsupportedModel

Mask = Literal["original", "proper"]
#: What the padding holds, by Transformers4Rec's convention.
_PADDING = 0
_CLM, _MLM, _PLM = "CausalLanguageModeling", "MaskedLanguageModeling", "PermutationLanguageModeling"
#: Bodies whose `attention_mask` hides every padded step, by Hugging Face's `model_type`.
_MASKED = (
    "albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "megatron-bert", "mpnet", "roberta", "roformer",
    "xlnet",
)  # fmt: skip
#: Those that see no later step, and so no padding.
_CAUSAL = ("gpt2", "transfo-xl")


def from_transformers4rec(model: nn.Module, *, mask: Mask = "original") -> nn.Module:
    """A trained model of Transformers4Rec as a model for `export_bundle`: `query`, `item_table` and `feature_names`.

    The bundle answers with the scores of the model's NextItemPredictionTask, whatever `top_k` it was built with; other
    tasks are left out. NaN in a continuous feature counts as 0, which padding holds, too.

    Args:
        model: a `transformers4rec.torch.Model`. It stays as it is.
        mask: `original` gives what the model itself gives for a session that is padded to the window: a bidirectional
            body reads the padding, as it did in training, and with permutation language modelling the last item counts
            for nothing. `proper` hides the padding, so that an answer is that of the session alone, and with
            permutation language modelling predicts the item after the last, from all of them.

    Returns:
        The model, whose features are int64 codes and float32 values [B, T] padded on the right with 0.

    Raises:
        UnsupportedModel: it is no such model, or has parts that cannot be served, or `mask` is none of the two.
    """
    if mask not in get_args(Mask):
        raise UnsupportedModel(f"mask is {mask!r}, expected one of {', '.join(get_args(Mask))}")
    heads: Any = getattr(model, "heads", None)
    tasks = [(head, task) for head in heads or () for task in head.prediction_task_dict.values()]
    found = [(head, task) for head, task in tasks if _is(task, "NextItemPredictionTask")]
    if len(found) != 1:
        what = ", ".join(type(task).__name__ for _, task in tasks) or "no prediction tasks"
        raise UnsupportedModel(
            f"{type(model).__name__} has {what}, expected a transformers4rec.torch.Model with one NextItemPredictionTask: "
            "give the model that was trained (trainer.model, or what Model.load returns)"
        )
    return Transformers4RecModel(*found[0], mask=mask)


class Transformers4RecModel(nn.Module):
    """The inputs, the body and the next-item task of a model of Transformers4Rec, in the order of its inference.

    feature_names: what its inputs read, the item first. item_feature: the item's. mask: as for `from_transformers4rec`.
    """

    def __init__(self, head: Any, task: Any, mask: Mask) -> None:
        super().__init__()
        self.body: Any = head.body
        self.task: Any = task
        self.proper = mask == "proper"
        self.inputs: Any = getattr(self.body, "inputs", None)
        if self.inputs is None or not _is(self.inputs, "TabularSequenceFeatures"):
            raise UnsupportedModel(
                f"the model's body is a {type(self.body).__name__} without TabularSequenceFeatures in front, which read its "
                "features: give a model whose body begins with its input block"
            )
        self.masking = next((kind for kind in (_CLM, _PLM, _MLM) if _is(self.inputs.masking, kind)), "")
        if not self.masking:
            raise UnsupportedModel(
                f"the model masks by {type(self.inputs.masking).__name__}, known are clm, mlm, plm and rtd: write a "
                "module with query() and item_table() around it (docs/any-model.md)"
            )
        self.item_feature: str = self.inputs.item_id
        self.feature_names = _features(self.inputs, self.item_feature)
        self.scorer: Any = task.pre.module
        if self.proper:
            self._check_maskable()

    def query(self, features: Mapping[str, Tensor]) -> Tensor:
        """float32 [B, D] of features [B, T]; divided by the task's temperature."""
        items = features[self.item_feature]
        hidden = self._hidden(features, items)  # (B, S, D)
        length = (items != _PADDING).sum(dim=1)
        further = self.masking == _MLM or (self.masking == _PLM and self.proper)
        asked = length if further else (length - 1).clamp(min=0)
        query = hidden.gather(1, asked[:, None, None].expand(-1, 1, hidden.shape[2])).squeeze(1).float()
        if self.task.task_block:
            query = self.task.task_block(query)
        temperature = self.scorer.softmax_temperature
        return query / temperature if temperature else query

    def item_table(self) -> Tensor:
        """float32 [V, D]: the item embeddings where they are tied, else the task's own."""
        return self.scorer.item_embedding_table.weight if self.scorer.weight_tying else self.scorer.output_layer

    def _hidden(self, features: Mapping[str, Tensor], items: Tensor) -> Tensor:
        hidden: Any = None
        real = items != _PADDING  # (B, T)
        for block in self.body:
            if block is self.inputs:
                hidden, real = self._masked(self._embedded(features), real)
            elif hasattr(block, "transformer"):
                hidden = self._transformed(block, hidden, real, items)
            else:
                hidden = block(hidden)
        return hidden[0] if isinstance(hidden, tuple) else hidden  # a recurrent network gives its state, too

    def _embedded(self, features: Mapping[str, Tensor]) -> Tensor:
        """What TabularSequenceFeatures makes of features before its masking: float32 [B, T, E]."""
        given = {name: _numbers(features[name]) for name in self.feature_names}
        given = self.inputs.pre_forward(given)
        joined: dict[str, Tensor] = {}
        for layer in self.inputs.merge_values:
            joined.update(layer(given))
        embedded = self._aggregated(joined)
        return self.inputs.projection_module(embedded) if self.inputs.projection_module else embedded

    def _aggregated(self, joined: dict[str, Tensor]) -> Tensor:
        # Its own sums compare the shapes first, which a trace holds for different.
        aggregation = self.inputs.aggregation
        if _is(aggregation, "ElementwiseSum"):
            return torch.stack([joined[name] for name in sorted(joined)]).sum(dim=0)
        if _is(aggregation, "ElementwiseSumItemMulti"):
            others = [joined[name] for name in sorted(joined) if name != self.item_feature]
            return joined[self.item_feature] * torch.stack(others).sum(dim=0)
        return aggregation(joined)

    def _masked(self, embedded: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """What the body reads, float32 [B, S, E], and which of its steps stand for something, bool [B, S]."""
        learned = self.inputs.masking.masked_item_embedding.to(embedded.dtype)
        if self.masking == _CLM:
            return torch.where(real[..., None], embedded, learned), real
        if self.masking == _MLM:
            longer = torch.cat([embedded, embedded[:, -1:]], dim=1)  # a further step, where a full window has [MASK]
            length = real.sum(dim=1, keepdim=True)
            steps = torch.arange(longer.shape[1], device=real.device)[None, :]
            return torch.where((steps == length)[..., None], learned, longer), steps <= length
        if self.proper:  # a step that nobody sees, for what follows the last item
            return nn.functional.pad(embedded, (0, 0, 0, 1)), nn.functional.pad(real, (0, 1))
        return embedded, real

    def _transformed(self, block: Any, hidden: Tensor, real: Tensor, items: Tensor) -> Tensor:
        """The transformer's states, float32 [B, S, D], without what GPT2Prepare adds: it hides what is hidden already."""
        prepare = block.prepare_module
        given: dict[str, Any] = {"inputs_embeds": hidden}
        if prepare is not None and not _is(prepare, "GPT2Prepare"):
            given = dict(prepare(hidden))
        if self.masking == _PLM and (self.proper or block.masking is not None):
            given |= self._permutation(real, items)
        elif self.proper and _reads_padding(block.transformer):
            given["attention_mask"] = real.to(hidden.dtype)
        known = inspect.signature(block.transformer.forward).parameters
        states = block.output_fn(block.transformer(**{name: value for name, value in given.items() if name in known}))
        return states[0] if isinstance(states, tuple) else states

    def _permutation(self, real: Tensor, items: Tensor) -> dict[str, Tensor]:
        """XLNet's masks: each step predicts itself, from the steps that `perm_mask` [B, S, S] has 0 for.

        `original`: of earlier steps, the session's last excepted, as its evaluation does. `proper`: of all items.
        """
        size = real.shape[1]
        itself = torch.eye(size, device=real.device)  # (S, S)
        if self.proper:
            visible = real[:, None, :] & (itself == 0)
        else:
            steps = torch.arange(size, device=real.device)
            last = (items != _PADDING).sum(dim=1, keepdim=True) - 1
            visible = (steps[None, :] <= steps[:, None])[None] & (steps[None, :] != last)[:, None, :]
        return {
            "perm_mask": (~visible).to(itself.dtype),
            "target_mapping": itself.expand(real.shape[0], -1, -1),
        }

    def _check_maskable(self) -> None:
        """Raises UnsupportedModel for a body whose padding cannot be hidden."""
        for block in self.body:
            kind = block.transformer.config.model_type if hasattr(block, "transformer") else ""
            if kind and kind not in (*_MASKED, *_CAUSAL):
                raise UnsupportedModel(
                    f"padding cannot be hidden from the body '{kind}': take mask='original', which answers as the model "
                    "itself does"
                )


def _reads_padding(transformer: Any) -> bool:
    """Whether its steps see later ones, which a mask can hide."""
    return transformer.config.model_type in _MASKED and getattr(transformer.config, "attn_type", "bi") == "bi"


def _features(inputs: Any, item: str) -> tuple[str, ...]:
    """The names that the inputs' filters let through, the item first."""
    if any(_is(module, "PretrainedEmbeddingFeatures") and module.features for module in inputs.modules()):
        raise UnsupportedModel(
            "the model reads pretrained embeddings, which the data loader adds and no workflow gives: put the vectors into "
            "the embedding table (PretrainedEmbeddingsInitializer), or write a module with query() and item_table() around "
            "the model"
        )
    names = [name for module in inputs.modules() for name in getattr(module, "to_include", ())]
    return tuple(dict.fromkeys([item, *names]))


def _numbers(values: Tensor) -> Tensor:
    """Codes as they are, null among numbers as 0."""
    return torch.where(values.isnan(), torch.zeros_like(values), values) if values.is_floating_point() else values


def _is(module: object, name: str) -> bool:
    """Whether a module is of a class of Transformers4Rec."""
    return any(kind.__name__ == name for kind in type(module).__mro__)
