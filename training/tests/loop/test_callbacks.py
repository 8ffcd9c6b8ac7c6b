import io
import logging
import sys
from types import SimpleNamespace

import pytest

from nextitem_bundle import commands
from nextitem_training.loop.callbacks import Progress


class Stream(io.StringIO):
    """Standard error that is a terminal or none."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def shown(monkeypatch, *, terminal: bool) -> str:
    """What the bar and the line of a validation say on standard error."""
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=4, global_step=0, best_metric=None)
    progress = Progress("recall@20")
    progress.on_train_begin(None, state, None)
    progress.training_bar.mininterval = 0
    for state.global_step in (1, 2):
        progress.on_step_end(None, state, None)
    progress.on_log(None, state, None, logs={"epoch": 1.0, "loss": 2.5, "eval_recall@20": 0.25})
    progress.on_train_end(None, state, None)
    return stream.getvalue()


def test_a_terminal_shows_one_line_with_rate_and_time_left(monkeypatch):
    text = shown(monkeypatch, terminal=True)
    assert "training:  50%" in text
    assert "2/4 [" in text
    assert "step/s" in text
    assert "loss 2.5" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_validation_gets_a_line_on_standard_error(monkeypatch, capsys, terminal):
    line = "Epoch 1: recall@20 0.2500 on the validation sessions, the best so far.\n"
    text = shown(monkeypatch, terminal=terminal)
    assert line in text
    assert terminal or text == line, "no bar where nobody watches it"
    assert capsys.readouterr().out == ""


def test_quiet_says_nothing(monkeypatch):
    monkeypatch.delenv(commands.LOG_VARIABLE, raising=False)
    with commands.logs(quiet=True, usual=logging.INFO):
        assert shown(monkeypatch, terminal=True) == ""
