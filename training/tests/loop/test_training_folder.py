import json

import pytest

from nextitem_training.errors import RunDirectoryError
from nextitem_training.loop.training_folder import TrainingFolder

BEGUN = {
    "configuration": {"[training] epochs": 3},
    **{"data": "a", "pretrained_items": "", "init_from": "", "validation_data": "", "test_data": "", "items": ""},
}


@pytest.fixture
def folder(tmp_path):
    return TrainingFolder.beside(tmp_path / "demo")


def write_checkpoint(folder, step, best=None):
    folder.clear_unfinished()
    written = folder.unfinished / f"checkpoint-{step}"
    written.mkdir()
    (written / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    folder.keep(best)


def cut_off(folder, steps=(), begun=BEGUN):
    def train_until_then():
        for step in steps:
            write_checkpoint(folder, step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), folder.opened(begun, resume=False):
        train_until_then()


def test_it_lies_beside_the_run_and_is_hidden(folder, tmp_path):
    assert folder.path == tmp_path / ".demo.training"


def test_the_newest_and_the_best_are_kept(folder):
    with folder.opened(BEGUN, resume=False) as checkpoint:
        assert checkpoint is None
        for step, best in ((5, 5), (10, 5), (15, 5), (20, 20), (25, 20)):
            write_checkpoint(folder, step, best)
            kept = {path.name for path in folder.path.glob("checkpoint-*")}
            assert kept == {f"checkpoint-{step}", f"checkpoint-{best}"}
    assert folder.newest.step == 25
    assert folder.newest.state() == {"best_global_step": 20}


def test_what_was_not_finished_is_no_checkpoint(folder):
    cut_off(folder, [9])
    (folder.unfinished / "checkpoint-12").mkdir()
    with folder.opened(BEGUN, resume=True) as checkpoint:
        assert checkpoint.step == 9
        write_checkpoint(folder, 12)
    assert folder.newest.step == 12


def test_a_failure_keeps_checkpoints_and_leaves_nothing_else(folder, caplog):
    cut_off(folder)
    assert not folder.path.exists()
    cut_off(folder, [3])
    assert folder.newest.step == 3
    assert "The state after 3 steps is kept in" in caplog.text


def test_an_earlier_training_is_reported_with_what_to_do(folder):
    folder.refuse_existing(resume=False, overwrite=False)
    cut_off(folder, [40])
    with pytest.raises(
        RunDirectoryError, match=r"cut off after 40 steps.*Pass --resume to go on with it or --overwrite"
    ):
        folder.refuse_existing(resume=False, overwrite=False)
    folder.refuse_existing(resume=True, overwrite=False)
    folder.refuse_existing(resume=False, overwrite=True)
    folder.remove()
    folder.path.mkdir()
    with pytest.raises(RunDirectoryError, match="cut off before its first checkpoint"):
        folder.refuse_existing(resume=False, overwrite=False)


def test_to_begin_anew_removes_what_there_was(folder):
    cut_off(folder, [40])
    with folder.opened(BEGUN, resume=False) as checkpoint:
        assert checkpoint is None
        assert folder.newest is None


def test_to_resume_where_there_is_nothing_begins(folder, caplog):
    caplog.set_level("INFO")
    with folder.opened(BEGUN, resume=True) as checkpoint:
        assert checkpoint is None
    assert "no checkpoint to go on from" in caplog.text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"configuration": {"[training] epochs": 5}}, r"\[training\] epochs is 3 there and 5 here"),
        ({"data": "b"}, "the interactions are other ones"),
        ({"pretrained_items": "b"}, "the vectors in .* are other ones"),
        ({"init_from": "b"}, "the run that --init-from names is another one"),
    ],
)
def test_what_was_begun_with_something_else_is_refused_and_left_alone(folder, change, sentence):
    cut_off(folder, [40])
    with pytest.raises(RunDirectoryError, match=sentence), folder.opened(BEGUN | change, resume=True):
        pass
    assert folder.newest.step == 40


def test_two_cannot_train_at_once(folder):
    with folder.opened(BEGUN, resume=False):
        write_checkpoint(folder, 5)
        with pytest.raises(RunDirectoryError, match="Another process is training"), folder.opened(BEGUN, resume=True):
            pass
    assert folder.newest.step == 5
