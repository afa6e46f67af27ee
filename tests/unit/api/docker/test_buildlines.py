"""A build's messages as Docker's classic builder prints them."""

from cgagent.api.docker.buildlines import Classic
from cgagent.api.progress import Done, Failed
from cgagent.engine.build.commands import StepFailedError
from cgagent.engine.build.values import (
    Built,
    StageDone,
    Step,
    StepBegun,
    StepContainer,
    StepDone,
    StepOutput,
)

ID = "sha256:" + "ab" * 32


def step(number, stage):
    return Step(number=number, total=4, stage=stage, shown=str(stage), text=f"RUN {number}")


def texts(classic, *messages):
    return [line.get("stream", "") for one in messages for line in classic.lines(one)]


def test_the_lines_of_a_step():
    found = texts(
        Classic(is_quiet=False),
        StepBegun(step(1, 0)),
        StepContainer(step(1, 0), "c" * 64),
        StepOutput(step(1, 0), "stderr", "oh\n"),
        StepContainer(step(1, 0), "c" * 64, is_gone=True),
        StepDone(step=step(1, 0), id=ID, cached=True),
    )
    assert found == [
        "Step 1/4 : RUN 1",
        "\n",
        " ---> Running in cccccccccccc\n",
        "\x1b[91moh\n\x1b[0m",
        " ---> Removed intermediate container cccccccccccc\n",
        " ---> Using cache\n",
        " ---> abababababab\n",
    ]


def test_stages_come_one_after_the_other():
    classic = Classic(is_quiet=False)

    def begun(number, stage):
        return texts(classic, StepBegun(step(number, stage)))[:1]

    assert begun(1, 0) == ["Step 1/4 : RUN 1"]
    assert begun(3, 1) == []
    assert begun(2, 0) == ["Step 2/4 : RUN 2"]
    assert texts(classic, StageDone(1)) == []
    assert texts(classic, StageDone(0))[:1] == ["Step 3/4 : RUN 3"]


def test_the_end():
    built = Built(image_id=ID, names=("docker.io/library/a:1",), report={}, warnings=("w",))
    assert texts(Classic(is_quiet=False), Done(built)) == [
        "",
        "[Warning] w\n",
        "Successfully built abababababab\n",
        "Successfully tagged a:1\n",
    ]
    assert texts(Classic(is_quiet=True), StepBegun(step(1, 0)), Done(built)) == ["", f"{ID}\n"]


def test_a_failure_has_the_code_and_what_was_held_back():
    classic = Classic(is_quiet=False)
    texts(classic, StepBegun(step(1, 0)), StepBegun(step(3, 1)))
    held, _, last = classic.lines(Failed(StepFailedError("no", 3)))
    assert held == {"stream": "Step 3/4 : RUN 3"}
    assert last == {"errorDetail": {"message": "no", "code": 3}, "error": "no"}
