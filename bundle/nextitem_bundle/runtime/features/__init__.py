"""The features step: a request is checked, its sessions are encoded, its filters become codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..filters import encode_filters
from ..item_index import ItemIndex
from ..request import Array, Request, read_request
from ..step import OwnProcess
from ..steps import CompiledFeatures, NvtabularFeatures

TOP_K = "top_k_checked"

#: Valid sessions to one tensor [B, window] per model feature, by the step's name for it, padded on the right with 0.
Encoder = Callable[[Request], dict[str, Array]]


class FeaturesStep:
    """One step for every kind of encoder.

    own: see `open_step`.
    """

    def __init__(
        self,
        encode: Encoder,
        outputs: tuple[str, ...],
        settings: CompiledFeatures | NvtabularFeatures,
        index: ItemIndex,
        own: OwnProcess | None = None,
    ) -> None:
        self._encode = encode
        self._index = index
        self._signature = settings.signature
        self._excluded, self._allowed = settings.filters
        self._own, self._codes = own, settings.codes
        self.inputs = self._signature.inputs
        self.outputs = (*outputs, self._excluded, self._allowed, TOP_K)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Encode a request.

        tensors: raw features [B, T] and optional tensors. Returns one tensor [B, window] per model feature, padded on
        the right with 0, the codes that are excluded and allowed, INT64 [B, P], and `top_k_checked` INT64 [B, 1]. Raises
        RequestError.
        """
        request = read_request(tensors, self._signature)
        excluded, allowed = encode_filters(tensors, request, self._signature, self._index)
        top_k = np.full((len(request.lengths), 1), request.top_k, dtype=np.int64)
        encoded = self._encode(request)
        if self._own:
            self._own.counters.read(request.lengths, encoded[self._codes])
        return {**encoded, self._excluded: excluded, self._allowed: allowed, TOP_K: top_k}
