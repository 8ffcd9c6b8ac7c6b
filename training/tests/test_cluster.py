import numpy as np
import pytest

from nextitem_training import workflow
from nextitem_training.cluster import connected
from nextitem_training.errors import ConfigError
from nextitem_training.interactions import read_interactions


@pytest.fixture(scope="module")
def address():
    """Two processes that work and a scheduler."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


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
