import json
from types import SimpleNamespace

from nextitem_training.evaluation.log import TrainingLog, read_log

LOSS = {"loss": 2.5, "grad_norm": 0.5, "learning_rate": 1e-3, "epoch": 0.5, "seconds": 1.5, "step": 4}
JUDGED = {"eval_recall@20": 0.25, "eval_mrr@20": 0.1, "epoch": 1.0, "seconds": 3.25, "step": 8}
SUMMARY = {"train_runtime": 9.0, "train_loss": 1.0, "epoch": 1.0, "seconds": 9.0, "step": 8}


def state(*history):
    return SimpleNamespace(is_world_process_zero=True, log_history=list(history))


def test_every_log_and_every_validation_is_a_line(tmp_path):
    log = TrainingLog(tmp_path / "log.jsonl")
    log.on_train_begin(None, state(), None)
    for entry in (LOSS, JUDGED, SUMMARY):
        log.on_log(None, state(entry), None)
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == [
        {"step": 4, "epoch": 0.5, "seconds": 1.5, "loss": 2.5, "gradient_norm": 0.5, "learning_rate": 1e-3},
        {"step": 8, "epoch": 1.0, "seconds": 3.25, "validation": {"recall@20": 0.25, "mrr@20": 0.1}},
    ]


def test_what_was_logged_after_the_checkpoint_is_forgotten(tmp_path):
    log = TrainingLog(tmp_path / "log.jsonl")
    log.path.write_text('{"step": 4}\n{"step": 5}\n{"st')
    log.on_train_begin(None, state(LOSS), None)
    assert [line["step"] for line in read_log(log.path)] == [4]


def test_other_processes_write_nothing(tmp_path):
    log = TrainingLog(tmp_path / "log.jsonl")
    other = SimpleNamespace(is_world_process_zero=False, log_history=[LOSS])
    log.on_train_begin(None, other, None)
    log.on_log(None, other, None)
    assert not log.path.exists()
