"""The rules' meaning, and the program's: it is run here as the kernel would."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import CONTAINER_DEVICES, DeviceRule, bpf
from cgagent.cgroups.devices import settle
from cgagent.errors import InvalidInputError

NUMBERS = st.sampled_from([None, 0, 1, 5, 136])
RULES = st.lists(
    st.builds(
        DeviceRule,
        kind=st.sampled_from("bc"),
        major=NUMBERS,
        minor=NUMBERS,
        access=st.sets(st.sampled_from("rwm"), min_size=1).map("".join),
        allow=st.booleans(),
    ),
    max_size=6,
)
TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}


def execute(program, kind, major, minor, wanted):
    """A machine for the few instructions that the program uses."""
    context = struct.pack("=III", wanted << 16 | TYPES[kind], major, minor)
    registers = [0] * 6
    code = list(struct.iter_unpack("=BBhi", program))
    at = 0
    while True:
        opcode, both, offset, value = code[at]
        dst, src = both & 15, both >> 4
        at += 1
        if opcode == 0x61:
            assert src == 1
            registers[dst] = struct.unpack_from("=I", context, offset)[0]
        elif opcode == 0x54:
            registers[dst] &= value
        elif opcode == 0x74:
            registers[dst] >>= value
        elif opcode == 0xBC:
            registers[dst] = registers[src]
        elif opcode == 0xB7:
            registers[dst] = value
        elif opcode == 0x55:
            at += offset * (registers[dst] != value)
        elif opcode == 0x15:
            at += offset * (registers[dst] == value)
        elif opcode == 0x5D:
            at += offset * (registers[dst] != registers[src])
        else:
            assert opcode == 0x95
            return registers[0]


def allowed(default, exceptions, request):
    kind, major, minor, wanted = request
    for rule in exceptions:
        same = rule.kind == kind and rule.major in {None, major} and rule.minor in {None, minor}
        mask = sum(ACCESS[letter] for letter in rule.access)
        if same and (wanted & ~mask == 0 if rule.allow else wanted & mask):
            return rule.allow
    return default


@given(RULES, st.booleans())
def test_the_program_says_what_the_rules_say(rules, start_open):
    if start_open:
        rules = [DeviceRule("a"), *rules]
    try:
        settled = settle(rules)
    except InvalidInputError:
        return
    program = bpf.assemble(*settled)
    for kind in "bc":
        for major, minor in ((1, 5), (1, 1), (136, 3), (0, 0)):
            for wanted in range(1, 8):
                request = (kind, major, minor, wanted)
                assert execute(program, *request) == allowed(*settled, request)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (("c", 1, 3, 6), True),
        (("c", 136, 77, 6), True),
        (("c", 1, 11, 2), False),
        (("c", 1, 11, 1), True),
        (("b", 8, 0, 1), True),
        (("b", 8, 0, 2), False),
        (("b", 8, 0, 3), False),
        (("b", 1, 3, 2), False),
    ],
)
def test_a_container(request_, expected):
    assert execute(bpf.assemble(*settle(CONTAINER_DEVICES)), *request_) == expected


def test_rules_add_up_and_are_taken_back():
    rules = ["c 1:3 r", "c 1:3 wm", "b 8:0 r"]
    taken = [DeviceRule.parse("b 8:0 rwm", allow=False), DeviceRule.parse("c 1:3 m", allow=False)]
    default, exceptions = settle([*map(DeviceRule.parse, rules), *taken])
    assert not default
    assert list(map(str, exceptions)) == ["c 1:3 rw"]


def test_a_part_cannot_be_taken_back():
    with pytest.raises(InvalidInputError, match=r"part of 'c 1:\*"):
        settle([DeviceRule.parse("c 1:* rw"), DeviceRule.parse("c 1:8 w", allow=False)])


@given(RULES)
def test_spelling(rules):
    for rule in rules:
        assert DeviceRule.parse(str(rule), allow=rule.allow) == rule


@pytest.mark.parametrize("text", ["", "c", "c 1:3", "x 1:3 r", "c 1:3 x", "c 1 3 r", "c -1:3 r"])
def test_wrong_spellings(text):
    with pytest.raises(InvalidInputError, match="device rule"):
        DeviceRule.parse(text)
