import pytest

from cgagent.errors import ConflictError
from cgagent.store import Database
from cgagent.store.networks import EndpointRow, NetworkRow, NetworkRows


def test_a_network_with_places_in_it_stays(tmp_path):
    database = Database(tmp_path)
    rows = NetworkRows(database)
    rows.insert(NetworkRow(id="n", name="back", created_ns=1, document="{}"))
    rows.put(EndpointRow(container_id="c", network_id="n", position=0, document="{}"))
    with pytest.raises(ConflictError, match="places of containers to come in it; try again"):
        rows.delete("n")
    assert [row.id for row in rows.all()] == ["n"]
    database.close()
