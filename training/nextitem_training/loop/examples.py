"""Training examples: whole sessions, cut into pieces of one interaction more than the window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from nextitem_training.config import DataConfig
from nextitem_training.data.sessions import EncodedSessions, pad


class SessionPieces(Dataset):
    """Pieces of at most window + 1 interactions, cut from the end of each session.

    The one interaction more trains the position after a full window, where the next item is
    predicted at inference. A piece gives its index alone; `collate` cuts and pads whole batches.
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
                # A piece's first interaction is the last target of the piece before.
                end = begin + 1
        self.starts = np.asarray(starts, dtype=np.int64)
        self.lengths = np.asarray(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, pieces: Sequence[int]) -> dict[str, dict[str, torch.Tensor]]:
        """Pads pieces to the longest of them: {"features": {name: [B, S]}}."""
        chosen = np.asarray(pieces, dtype=np.int64)
        padded = pad(self.features, self.starts[chosen], self.lengths[chosen])
        return {"features": {name: torch.from_numpy(values) for name, values in padded.items()}}
