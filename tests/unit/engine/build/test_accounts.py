"""What steps have used, in the report of a build and in the message that ends one."""

from cgagent.engine.build.accounts import account, over_the_limit, report
from cgagent.engine.build.values import Account, Step, StepDone


def done(number, *, cached=False, size_bytes=0, used=None):
    step = Step(number=number, total=3, stage=0, shown="base", text=f"RUN {number}")
    return StepDone(step=step, id="x", cached=cached, account=used, size_bytes=size_bytes)


def test_a_report_has_the_steps_in_their_order():
    used = Account(wall_s=0.5, cpu_ns=7, memory_peak_bytes=9)
    found = report(
        "sha256:x",
        [done(3, size_bytes=5, used=used), done(1, cached=True, size_bytes=9)],
        2.0,
        None,
    )
    assert found["total"]["size_bytes"] == 5
    assert (found["total"]["steps"], found["total"]["cached"]) == (2, 1)
    assert [step["number"] for step in found["steps"]] == [1, 3]
    assert found["steps"][1] | {"cpu_ns": 7, "stage": "base"} == found["steps"][1]
    assert "cpu_ns" not in found["steps"][0]


def test_nothing_is_said_of_what_no_host_counts():
    assert account(None, 1.0) == Account(wall_s=1.0)


def test_the_message_names_limit_and_peak():
    own = Account(wall_s=1, memory_peak_bytes=64 << 20)
    text = over_the_limit("step 2/3 (RUN x)", {"limit_bytes": 64 << 20}, own)
    assert text.startswith("step 2/3 (RUN x) was killed: it needed more than the memory limit of")
    assert "64MiB; its peak was 64MiB" in text
    assert "machine's memory" in over_the_limit("x", None, Account(wall_s=1))


def test_a_long_instruction_is_cut_in_messages():
    step = Step(number=1, total=1, stage=0, shown="", text="RUN " + "x" * 500)
    assert len(step.named) < 150
    assert step.named.endswith("...)")
