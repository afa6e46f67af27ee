from pathlib import Path

import pytest

from cgagent import config
from cgagent.config import Settings
from cgagent.defaults import DEFAULT_SOCKET
from cgagent.errors import InvalidInputError
from cgagent.watchlist import Watch


@pytest.fixture
def load(tmp_path):
    """Load with the text of a configuration file, an environment and flags."""

    def loaded(text="", environ=None, **flags):
        (tmp_path / "config.toml").write_text(text)
        return config.load(flags, environ=environ or {}, config_file=str(tmp_path / "config.toml"))

    return loaded


def test_without_anything_the_defaults_hold(load):
    assert load() == Settings()
    assert Settings().socket == Path(DEFAULT_SOCKET)
    assert Settings().run_dir == Path("/run/cgagent")


def test_a_socket_may_be_an_address(load):
    settings = load(environ={"CGAGENT_SOCKET": "unix:///x/y.sock"})
    assert settings.socket == Path("/x/y.sock")


def test_flags_go_before_environment_before_file(load):
    text = 'data-root = "/file"\nmetrics-listen = "file:1"\nstop-timeout-s = 3'
    environ = {"CGAGENT_DATA_ROOT": "/environment", "CGAGENT_METRICS_LISTEN": "environment:1"}
    settings = load(text, environ, data_root="/flag", socket=None)
    assert settings.data_root == Path("/flag")
    assert settings.metrics_listen == "environment:1"
    assert settings.stop_timeout_s == 3.0
    assert settings.socket == Path(DEFAULT_SOCKET)


def test_types(load):
    settings = load(
        'registry-mirrors = ["https://a", " https://b "]\nsample-interval-s = 0.5',
        {"CGAGENT_INSECURE_REGISTRIES": "one:5000, 10.0.0.0/8,"},
        data_root="relative",
    )
    assert settings.registry_mirrors == ("https://a", "https://b")
    chosen = load("", {"CGAGENT_METRIC_LABELS": "team,com.docker.compose.service"})
    assert chosen.metric_labels == ("team", "com.docker.compose.service")
    assert settings.insecure_registries == ("one:5000", "10.0.0.0/8")
    assert settings.data_root == Path.cwd() / "relative"
    table = "[runtimes]\na = '/x'\n[runtimes.b]\npath = '/y'\nruntimeArgs = ['-z']"
    assert load(table).runtimes == {"a": ("/x",), "b": ("/y", "-z")}
    assert load("sample-descriptors = 0").sample_descriptors == 0
    assert load("", {"CGAGENT_SAMPLE_DESCRIPTORS": "500"}).sample_descriptors == 500
    assert load("", {"CGAGENT_METRICS_LISTEN": ""}).metrics_listen == ""


def test_groups_to_watch(load):
    table = """
        [[watch]]
        pattern = "kubepods*/**"
        name = "{parent}/{name}"
        labels = {tier = "pods"}
        depth = 4
        """
    pods = Watch("kubepods*/**", "{parent}/{name}", (("tier", "pods"),), 4)
    assert load(table).watch == (pods,)
    assert load('watch = ["a/*", {pattern = "b"}]').watch == (Watch("a/*"), Watch("b"))
    assert load("", {"CGAGENT_WATCH": "a/*, b,"}).watch == (Watch("a/*"), Watch("b"))
    assert load("", watch=["a/**"]).watch == (Watch("a/**"),)
    assert pods.name_of("/kubepods/pod1/c2") == "pod1/c2"
    assert Watch("x", "{path} of it").name_of("/a/b") == "/a/b of it"


@pytest.mark.parametrize(
    ("text", "environ", "flags", "complaint"),
    [
        (
            "nosuch = 1",
            {},
            {},
            "unknown setting 'nosuch'; known are access-policy, add-registries, ",
        ),
        ("not toml", {}, {}, "cannot be read"),
        ("data-root = 5", {}, {}, "data_root must be a string"),
        ("registry-mirrors = [1]", {}, {}, "must be a list of strings"),
        ("registry-mirrors = 1", {}, {}, "must be a list of strings"),
        ("runtimes = 1", {}, {}, "must be a table"),
        ("[runtimes]\nmine = 'crun'", {}, {}, "runtimes.mine must have an absolute path"),
        ("[runtimes.mine]\npath = '/x'\nargs = []", {}, {}, "may have runtimeArgs"),
        ("watch = 1", {}, {}, "watch must be a list of strings"),
        ("watch = [1]", {}, {}, "watch: each must be a pattern, or a table of pattern, name"),
        ("[[watch]]\npatern = 'x'", {}, {}, "watch: each must be a pattern, or a table"),
        ("[[watch]]\nname = 'x'", {}, {}, "watch: None is no pattern"),
        ("watch = ['/']", {}, {}, "watch: '/' is no pattern"),
        ("[[watch]]\npattern = 'x'\nname = '{pod}'", {}, {}, "'{pod}' may have {name}, {parent}"),
        ("[[watch]]\npattern = 'x'\nlabels = {a = 1}", {}, {}, "must be a table of strings"),
        ("[[watch]]\npattern = 'x'\ndepth = 9", {}, {}, "depth must be a number up to 8"),
        ("sample-interval-s = 0", {}, {}, "must be a positive number of seconds"),
        ("", {"CGAGENT_STOP_TIMEOUT_S": "soon"}, {}, "CGAGENT_STOP_TIMEOUT_S: .* positive number"),
        ("", {}, {"sample_interval_s": "-1"}, "--sample-interval-s: .* positive number"),
        ("", {}, {"sample_interval_s": "nan"}, "positive number"),
        ("sample-descriptors = -1", {}, {}, "sample_descriptors must be a number from 0"),
        ("sample-descriptors = true", {}, {}, "sample_descriptors must be a number from 0"),
        ("", {"CGAGENT_SAMPLE_DESCRIPTORS": "x"}, {}, "must be a number from 0, not 'x'"),
        ("", {}, {"cgroup_parent": "x"}, "must be an absolute path without"),
        ("", {}, {"cgroup_parent": "/a/../b"}, "must be an absolute path without"),
    ],
)
def test_mistakes(load, text, environ, flags, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        load(text, environ, **flags)


def test_a_file_that_was_named_must_be_there(tmp_path):
    missing = str(tmp_path / "none")
    with pytest.raises(InvalidInputError, match="none does not exist"):
        config.load(config_file=missing, environ={})
    with pytest.raises(InvalidInputError, match="none does not exist"):
        config.load(environ={"CGAGENT_CONFIG": missing})
