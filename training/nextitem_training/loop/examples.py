"""Training examples: whole sessions, cut into segments of one interaction more than the window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from nextitem_training.config import DataConfig
from nextitem_training.data.sessions import EncodedSessions, pad


class SessionSegments(Dataset):
    """Segments of at most window + 1 interactions, cut from the end of each session.

    The one interaction more trains the position after a full window, where the next item is
    predicted at inference. A segment gives its index alone; `collate` cuts and pads whole batches.
    """

    def __init__(self, sessions: EncodedSessions, data: DataConfig) -> None:
        self.features = sessions.features
        starts, lengths = [], []
        longest = data.window + 1
        for start, end in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True):
            if end - start < data.min_session_length:
                continue
            while end - start >= 2:  # one interaction alone has nothing to predict
                begin = max(start, end - longest)
                starts.append(begin)
                lengths.append(end - begin)
                # A segment's first interaction is the last target of the segment before.
                end = begin + 1
        self.starts = np.asarray(starts, dtype=np.int64)
        self.lengths = np.asarray(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, segments: Sequence[int]) -> dict[str, dict[str, torch.Tensor]]:
        """Pads segments to the longest of them: {"features": {name: [B, S]}}."""
        chosen = np.asarray(segments, dtype=np.int64)
        padded = pad(self.features, self.starts[chosen], self.lengths[chosen])
        return {"features": {name: torch.from_numpy(values) for name, values in padded.items()}}
