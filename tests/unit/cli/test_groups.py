"""The listing of groups' figures, when a group goes meanwhile."""

import pytest

from cgagent.cli import groups, main
from cgagent.errors import NotFoundError


class Agent:
    """One whose only group goes as soon as it has been listed."""

    def request(self, _, path):
        if path == "/v1/groups":
            return [{"name": "team"}]
        raise NotFoundError("group 'team' does not exist")


@pytest.mark.parametrize(("argv", "code"), [(("stats",), 0), (("stats", "team"), 1)])
def test_figures_of_one_that_goes_meanwhile(monkeypatch, capsys, argv, code):
    monkeypatch.setattr(groups, "connect", lambda _: Agent())
    monkeypatch.setattr("sys.argv", ["cgagent", "group", *argv])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert capsys.readouterr().out.startswith("NAME") is (code == 0)
