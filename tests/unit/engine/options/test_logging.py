from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cgagent.config import load
from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
from cgagent.engine.containers.container import Record
from cgagent.engine.lifecycle.log_target import description
from cgagent.engine.options.logging import LogConfig, checked
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.runtime.messages.jobs import JsonFileLog

RESOLVED = ResolvedConfig(args=("x",), labels={"a-b": "1", "c": "2"}, env=("E=v",))
RECORD = Record(
    id="0123456789abcdef" * 4,
    name="web",
    image_id="sha256:1",
    created_ns=1,
    cgroup_path="/x",
    rootfs=None,
    config=ContainerConfig(image="alpine"),
    resolved=RESOLVED,
    limits=None,
)


def told(driver, **options):
    log = LogConfig(driver, {k.replace("_", "-"): v for k, v in options.items()})
    checked(log, None)
    return description(replace(RECORD, resolved=replace(RESOLVED, log=log)), Path("/log"))


@pytest.mark.parametrize(
    ("size", "found"),
    [("10m", 10_000_000), ("1.5k", 1500), ("7", 7), ("2G", 2 * 10**9), ("3kb", 3000)],
)
def test_sizes_are_dockers_powers_of_1000(size, found):
    log = JsonFileLog(path="/log", max_bytes=found, max_files=3)
    assert told("json-file", max_size=size, max_file="3") == log


def test_one_file_without_end_unless_something_else_is_said():
    assert told("json-file") == JsonFileLog(path="/log", max_bytes=None, max_files=1)


@pytest.mark.parametrize("size", ["", "0", "m", "1x", "1e9", "ten"])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(InvalidInputError, match="must be a positive number"):
        told("json-file", max_size=size)


def test_the_settings_options_go_with_their_driver_only():
    default = LogConfig("json-file", {"max-size": "1m", "max-file": "2"})
    assert checked(None, default) == default
    assert checked(LogConfig("", {"max-size": "5m"}), default).options == {
        "max-size": "5m",
        "max-file": "2",
    }
    assert checked(LogConfig("none"), default) == LogConfig("none")


def test_fields_of_the_journal():
    fields = told("journald", labels="a-b,absent", env="E", tag="{{ .ImageName }}-{{.Name}}")
    assert (
        fields.fields.items()
        >= {
            "A_B": "1",
            "E": "v",
            "CONTAINER_ID": "0123456789ab",
            "CONTAINER_TAG": "alpine-web",
        }.items()
    )
    with pytest.raises(InvalidInputError, match="is not known; there are ID"):
        told("journald", tag="{{.Daemon}}")


def test_only_files_are_read_back():
    LogConfig("json-file").require_readable()
    for driver in ("none", "journald"):
        with pytest.raises(UnsupportedError, match="does not support reading"):
            LogConfig(driver).require_readable()


def test_a_table_of_the_configuration_file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[log]\nmax-size = "1m"\nmax-file = 4\n')
    settings = load(config_file=str(file), environ={})
    parsed = LogConfig.parse(settings.log_driver, settings.log_opts)
    assert asdict(parsed) == {
        "driver": "json-file",
        "options": {"max-size": "1m", "max-file": "4"},
    }
    with pytest.raises(InvalidInputError, match="'syslog' is not known"):
        LogConfig.parse("syslog", ())
    file.write_text("log = 3\n")
    with pytest.raises(InvalidInputError, match="must be a table"):
        load(config_file=str(file), environ={})


def test_what_docker_accepts_of_options():
    assert told("json-file", max_size="-1").max_bytes is None
    assert told("json-file", mode="non-blocking", max_buffer_size="4m", compress="false")
    assert told("journald", mode="blocking")
    compressed = told("json-file", compress="true", max_size="1m", max_file="2")
    assert compressed.compress is True
    for limits in ({}, {"max_size": "1m"}, {"max_file": "2"}, {"max_size": "-1", "max_file": "2"}):
        with pytest.raises(InvalidInputError, match="nothing to compress without"):
            told("json-file", compress="true", **limits)
    for wrong in ({"mode": "fast"}, {"compress": "gz"}, {"max_buffer_size": "1m"}):
        with pytest.raises(InvalidInputError):
            told("json-file", **wrong)


def test_attributes_by_pattern():
    found = told("json-file", labels_regex="^[ab]", env_regex="E", labels="c")
    assert found.attributes == {"c": "2", "a-b": "1", "E": "v"}
    assert told("journald", labels_regex="-").fields["A_B"] == "1"
    with pytest.raises(InvalidInputError, match="log opt env-regex '\\(' is no regular expression"):
        told("json-file", env_regex="(")
