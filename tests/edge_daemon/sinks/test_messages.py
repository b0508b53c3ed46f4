"""Facts about messages: ids made from records, payloads that are the record and more."""

from __future__ import annotations

import json

from edge_daemon.sinks.messages import Message, batch_body, batch_id, payload_of
from tests.edge_daemon.records import line

ONE, OTHER = (Message.of(line(number).rstrip()) for number in (1, 2))


def test_an_id_is_the_records_own() -> None:
    """The same record has the same id, whoever makes it when; another one has another."""
    assert Message.of(line(1).rstrip()) == ONE
    assert ONE.id != OTHER.id
    assert len(ONE.id) == 32


def test_a_payload_is_the_record_with_id_and_edge() -> None:
    """Also for an edge whose name needs quoting."""
    payload = json.loads(payload_of(ONE, 'por"ch'))
    assert payload == {"id": ONE.id, "edge": 'por"ch', **json.loads(line(1))}


def test_a_batch_is_its_messages_in_order() -> None:
    """And its id is that of these messages, in this order."""
    body = json.loads(batch_body([ONE, OTHER], "porch"))
    assert body["edge"] == "porch"
    assert [one["id"] for one in body["records"]] == [ONE.id, OTHER.id]
    assert batch_id([ONE, OTHER]) == batch_id([ONE, OTHER]) != batch_id([OTHER, ONE])
