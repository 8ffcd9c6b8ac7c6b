import numpy as np
import pytest

from nextitem_training import cli, workflow
from nextitem_training.cluster import connected
from nextitem_training.errors import ConfigError
from nextitem_training.interactions import read_interactions
from nextitem_training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def address():
    """Two processes that work and a scheduler."""
    from distributed import LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    yield cluster.scheduler_address
    cluster.close(timeout=60)  # as a context it would give busy workers a few seconds


@pytest.fixture(scope="module")
def interactions(clicks_path, config):
    return read_interactions(clicks_path, config.data)


@pytest.mark.slow  # workers take long to start
def test_a_cluster_gives_the_same_vocabularies_and_encodings(address, interactions, config, tmp_path):
    frame, dtypes = interactions
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    here = workflow.fit(frame, config.data, tmp_path / "here")
    schema = workflow.describe(here.served, config.data, dtypes)
    expected = workflow.encode(here.whole, frame, schema)
    with connected(address) as cluster:
        assert cluster.partitions == 4
        rows = cluster.dataset(frame, "session_id").to_ddf()
        assert rows.npartitions == 4
        places = rows.map_partitions(lambda part: part.groupby("session_id").size().reset_index()).compute()
        assert not places["session_id"].duplicated().any(), "a session lies in one partition"
        there = workflow.fit(frame, config.data, tmp_path / "there", cluster)
        found = workflow.encode(there.whole, frame, schema, cluster)
    assert workflow.describe(there.served, config.data, dtypes) == schema
    for column in ("item_id", "brand", "shop"):
        ours, theirs = (workflow.vocabulary(fitted.served, column) for fitted in (here, there))
        assert ours.values.tolist() == theirs.values.tolist()
        assert ours.counts.tolist() == theirs.counts.tolist()
    assert found.session_ids.tolist() == expected.session_ids.tolist()
    assert found.offsets.tolist() == expected.offsets.tolist()
    for feature in schema.features:
        values = found.features[feature.name]
        assert values.dtype == expected.features[feature.name].dtype
        if feature.cardinality:
            assert values.tolist() == expected.features[feature.name].tolist()
        else:  # sums over partitions are added up in another order
            np.testing.assert_allclose(values, expected.features[feature.name], atol=1e-5)
    # Saved and loaded as any other, without the cluster.
    workflow.save(there.served, tmp_path / "saved")
    again = workflow.encode(workflow.load(tmp_path / "saved"), frame, schema)
    assert len(again) == len(expected)


def test_an_address_without_a_scheduler_gets_a_sentence(monkeypatch):
    monkeypatch.setattr("nextitem_training.cluster._PATIENCE_S", 0.5)
    with (
        pytest.raises(ConfigError, match=r"There is no Dask scheduler at tcp://127\.0\.0\.1:9 "),
        connected("tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ConfigError, match="There is no Dask scheduler at what is this "), connected("what is this"):
        pass


def test_a_scheduler_without_workers_gets_a_sentence():
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None) as empty:
        address = empty.scheduler_address
        with pytest.raises(ConfigError, match=f"at {address} has no workers; start some"), connected(address):
            pass


@pytest.mark.slow
def test_a_run_on_a_cluster_knows_the_same_items(address, clicks_path, tmp_path):
    (tmp_path / "config.toml").write_text(
        '[data]\nwindow = 4\nholdout_days = 3\ncategorical = ["brand"]\n'
        "[model]\nd_model = 8\nheads = 2\nlayers = 1\n[training]\nepochs = 1\n"
    )
    command = ["--data", str(clicks_path), "--config", str(tmp_path / "config.toml"), "--output"]
    assert cli.main([*command, str(tmp_path / "there"), "--dask-scheduler", address]) == 0
    assert cli.main([*command, str(tmp_path / "here")]) == 0
    here, there = (RunDirectory.open(tmp_path / name) for name in ("here", "there"))
    assert there.schema == here.schema
    # All features are codes, so that not even rounding differs.
    assert there.metrics()["metrics"] == here.metrics()["metrics"]
    assert (there.path / "model.safetensors").read_bytes() == (here.path / "model.safetensors").read_bytes()
    for run in (here, there):
        assert len(workflow.encode(run.load_workflow(), run.sample(), run.schema)) > 0
