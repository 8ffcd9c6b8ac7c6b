import pytest
import torch

from nextitem_training.config import TrainingConfig
from nextitem_training.errors import ConfigError
from nextitem_training.loop.precision import check_precision, chosen_precision

on_the_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")


@on_the_cpu
def test_float16_needs_a_gpu():
    with pytest.raises(ConfigError, match="'float16', which needs a GPU, and there is none here; take 'bfloat16'"):
        check_precision(TrainingConfig(precision="float16"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_asked_for_is_taken(precision):
    assert chosen_precision(TrainingConfig(precision=precision)) == precision


@on_the_cpu
@pytest.mark.parametrize(("amx", "avx"), [(False, False), (True, False), (False, True)])
def test_auto_goes_by_what_the_processor_has(monkeypatch, amx, avx):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    expected = "bfloat16" if amx or avx else "float32"
    assert chosen_precision(TrainingConfig(precision="auto")) == expected


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_is_asked_whether_it_has_bfloat16(monkeypatch, has):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an old card")
    assert chosen_precision(TrainingConfig(precision="auto")) == ("bfloat16" if has else "float32")
    if has:
        check_precision(TrainingConfig(precision="bfloat16"))
    else:
        with pytest.raises(ConfigError, match="which an old card has no units for; take 'float16'"):
            check_precision(TrainingConfig(precision="bfloat16"))
