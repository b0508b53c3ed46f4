"""Facts about the parts of the cloud's status. All of it together: test_view.py."""

from __future__ import annotations

from cloud_daemon.status import EdgeAtCloud, ServedModel


def test_an_edge_is_told_with_its_name_as_it_is() -> None:
    """Numbers are rounded for reading, names are not changed."""
    edge = EdgeAtCloud(
        session="1-2",
        name="<b>porch</b>",
        address="10.0.0.7:5000",
        tls=True,
        model="resnet18",
        since=1_700_000_000.12345,
        answered=7,
        per_second=2.34567,
        in_flight=1,
    )
    told = edge.to_status()
    assert told["name"] == "<b>porch</b>"
    assert (told["since"], told["answered_per_s"]) == (1_700_000_000.123, 2.35)
    assert told.keys() == {
        *("session", "name", "address", "tls", "model", "since", "answered", "answered_per_s", "in_flight")
    }


def test_a_model_is_told_with_what_runs_it() -> None:
    """Device and executor, as the edge's profile will name them."""
    model = ServedModel(name="resnet18", weights="random:0", units=35, device="a device", executor="torch")
    assert model.to_status() == {
        "name": "resnet18",
        "weights": "random:0",
        "units": 35,
        "device": "a device",
        "executor": "torch",
    }
