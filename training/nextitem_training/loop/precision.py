"""In which precision products are computed: what is asked for and what the device has."""

from __future__ import annotations

import torch

from nextitem_training.config import TrainingConfig
from nextitem_training.config.training import AUTO
from nextitem_training.errors import ConfigError


def check_precision(training: TrainingConfig) -> None:
    """Raises ConfigError where the device lacks the precision that is asked for."""
    if training.precision == "float16" and not torch.cuda.is_available():
        raise ConfigError(
            "[training] precision is 'float16', which needs a GPU, and there is none here; take 'bfloat16', 'float32' or "
            "'auto'."
        )
    if training.precision == "bfloat16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported(False):
        raise ConfigError(
            f"[training] precision is 'bfloat16', which {torch.cuda.get_device_name()} has no units for; take 'float16', "
            "'float32' or 'auto'."
        )


def chosen_precision(training: TrainingConfig) -> str:
    """float32, bfloat16 or float16; `auto` is bfloat16 where the device has units for it, and float32 elsewhere."""
    if training.precision != AUTO:
        return training.precision
    return "bfloat16" if _multiplies_bfloat16() else "float32"


def _multiplies_bfloat16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # PyTorch has no public name for these in all versions that are supported.
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
