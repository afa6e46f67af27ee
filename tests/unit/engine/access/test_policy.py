"""The policy file: its form, and whom a rule is for."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cgagent.engine.access import policy
from cgagent.engine.access.caller import Caller
from cgagent.errors import DeniedError, InvalidInputError

ROOT = Caller(via="user", name="0", scope="admin", uid=0, gids=frozenset({0}))
ALICE = Caller(via="user", name="7", scope="admin", uid=7, gids=frozenset({70, 71}))
CERT = Caller(via="certificate", name="ci", scope="control")
TOKEN = Caller(via="token", name="ci", scope="control")


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "access.toml"
        path.write_text(text)
        return policy.load(path, required=True)

    return write


def test_without_a_file_everybody_may_everything(tmp_path):
    none = policy.load(tmp_path / "none", required=False)
    assert none.rule_for(TOKEN) is policy.EVERYTHING
    with pytest.raises(InvalidInputError, match="does not exist"):
        policy.load(tmp_path / "none", required=True)


def test_an_empty_file_lets_root_alone(written):
    rules = written("")
    assert rules.rule_for(ROOT) is policy.EVERYTHING
    for one in (ALICE, CERT, TOKEN):
        with pytest.raises(DeniedError, match=r"no rule in .* is for it"):
            rules.rule_for(one)


@pytest.mark.parametrize(
    ("selector", "whom"),
    [
        ("users = [7]", [ALICE]),
        ("groups = [71]", [ALICE]),
        ('certificates = ["ci"]', [CERT]),
        ('tokens = ["ci"]', [TOKEN]),
        ('tokens = ["ci"]\nusers = [7]', [ALICE, TOKEN]),
        ("users = []", []),
        ('users = ["root"]', []),
        ("", [ALICE, CERT, TOKEN]),
    ],
)
def test_whom_a_rule_is_for(written, selector, whom):
    (rule,) = written(f'[[rule]]\n{selector}\nallow = "read"').rules
    assert [one for one in (ALICE, CERT, TOKEN) if rule.is_for(one)] == whom


def test_the_first_that_fits_holds(written):
    rules = written('[[rule]]\nusers = [7]\nallow = "read"\n[[rule]]\nallow = "metrics"')
    assert (rules.rule_for(ALICE).allow, rules.rule_for(TOKEN).allow) == ("read", "metrics")
    assert rules.rule_for(ALICE).privileged is False


@pytest.mark.parametrize(
    ("patterns", "name", "fits"),
    [
        ('["alpine"]', "alpine", True),
        ('["alpine"]', "alpine:3.20", True),
        ('["alpine"]', "docker.io/library/alpine@sha256:" + "a" * 64, True),
        ('["alpine:3.20"]', "alpine", False),
        ('["alpine:3.20"]', "alpine:3.20", True),
        ('["alpine:3.20"]', "alpine:3.20@sha256:" + "a" * 64, False),
        ('["a*"]', "a1b2c3d4e5f6", False),
        ('["a*"]', "sha256:a1b2c3d4e5f6", False),
        ('["s*"]', "sha256:a1b2c3d4e5f6", False),
        ('["cafe"]', "cafe", True),
        ('["alpine"]', "evil.example/alpine", False),
        ('["alpine"]', "evil.example/library/alpine", False),
        ('["docker.io/library/*"]', "alpine", True),
        ('["team/*"]', "evil.example/team/x", False),
        ('["registry.example/team/*"]', "registry.example/team/app:1", True),
        ('["alpine"]', "a" * 64, False),
        ('["*"]', "a" * 64, False),
        ('["alpine"]', "", False),
        ("[]", "alpine", False),
    ],
)
def test_images(written, patterns, name, fits):
    (rule,) = written(f"[[rule]]\nimages = {patterns}").rules
    assert rule.has_image(name) is fits


def test_groups(written):
    (rule,) = written('[[rule]]\ncgroup-parents = ["/batch/"]').rules
    assert rule.has_group("/batch/x", "/cgagent")
    for path in ("/batch", "/batchelor/x", "/cgagent/x"):
        assert not rule.has_group(path, "/cgagent")
    (rule,) = written("[[rule]]").rules
    assert rule.has_group("/cgagent/x", "/cgagent")
    assert not rule.has_group("/batch/x", "/cgagent")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nonsense", "cannot be read"),
        ("x = 1", "it has tables \\[\\[rule\\]\\] alone"),
        ("rule = 1", "it has tables"),
        ("rule = [1]", "rule 1: it must be a table"),
        ("[[rule]]\nuser = [1]", "rule 1: unknown 'user'"),
        ("[[rule]]\nusers = 'x'", "users must be a list"),
        ("[[rule]]\nusers = [true]", "users must be a list"),
        ("[[rule]]\nusers = ['nosuchuser']", "user 'nosuchuser' does not exist"),
        ("[[rule]]\ngroups = ['nosuchgroup']", "group 'nosuchgroup' does not exist"),
        ("[[rule]]\nallow = 'admin'", "allow is one of metrics, read, control"),
        ("[[rule]]\nprivileged = 1", "privileged true or false"),
        ("[[rule]]\nprivileged = true\nimages = []", "gets past images"),
        ("[[rule]]\nhost-paths = ['srv']", "must be an absolute path"),
        ("[[rule]]\ncgroup-parents = ['/a/../b']", "must be an absolute path"),
    ],
)
def test_mistakes(written, text, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        written(text)


def test_the_one_in_the_documents(written, monkeypatch):
    monkeypatch.setattr(policy.pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=len(name)))
    text = Path(__file__).parents[4].joinpath("docs/security.md").read_text()
    rules = written(text.partition("```toml\n")[2].partition("```")[0]).rules
    assert [rule.allow for rule in rules] == ["control", "control", "read"]
    assert [rule.privileged for rule in rules] == [True, False, False]


def test_a_file_that_others_can_write(tmp_path):
    path = tmp_path / "access.toml"
    path.write_text("")
    path.chmod(0o664)
    with pytest.raises(InvalidInputError, match="can be written by others than root"):
        policy.load(path, required=True)
