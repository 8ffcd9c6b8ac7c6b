from matplotlib.image import imread

from nextitem_training.evaluation.plots import LOSS, VALIDATION, draw

LOSSES = [{"step": step, "epoch": step / 2, "loss": 1 / step} for step in range(1, 7)]
JUDGED = [
    {"step": 2 * epoch, "epoch": epoch, "validation": {"recall@20": 0.2 * epoch, "mrr@10": 0.1 * epoch}}
    for epoch in (1, 2, 3)
]


def test_the_log_is_drawn(tmp_path):
    draw([*LOSSES, *JUDGED], tmp_path, "mrr@10")
    for name in (LOSS, VALIDATION):
        picture = imread(tmp_path / name)
        assert picture.shape[:2] == (500, 800)
        assert picture[..., :3].min() < 0.3, "something is drawn"
    assert (imread(tmp_path / LOSS) != imread(tmp_path / VALIDATION)).any()


def test_what_was_not_measured_is_not_drawn(tmp_path):
    draw(LOSSES, tmp_path, "mrr@10")
    assert [path.name for path in tmp_path.iterdir()] == [LOSS]
