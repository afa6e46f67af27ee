"""Limits of policies over those of users: what is in force, and what is written for a change."""

from dataclasses import dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import UNLIMITED, IoMax, Limits
from cgagent.engine.options import overrides
from cgagent.engine.options.overrides import LimitOverride
from cgagent.errors import InvalidInputError, NotFoundError

AMOUNT = st.one_of(st.none(), st.just(UNLIMITED), st.integers(1, 2**40))
CAPS = st.builds(
    IoMax,
    major=st.just(8),
    minor=st.integers(0, 2),
    rbps=AMOUNT,
    wbps=AMOUNT,
    riops=st.none(),
    wiops=st.none(),
)
LIMITS = st.builds(
    Limits,
    memory_max_bytes=AMOUNT,
    memory_high_bytes=AMOUNT,
    pids_max=AMOUNT,
    cpu_quota_us=AMOUNT,
    cpu_weight=st.one_of(st.none(), st.integers(1, 10_000)),
    cpu_idle=st.sampled_from([None, True, False]),
    io_max=st.one_of(
        st.none(), st.lists(CAPS, min_size=1, unique_by=lambda c: c.device).map(tuple)
    ),
)
OWNERS = st.sampled_from(["a", "b", "c"])


def test_a_budget_widens_nothing_when_what_was_below_it_has_gone():
    cap = override(
        overrides.BUDGET,
        cpu_quota_us=50_000,
        cpu_period_us=100_000,
        net_rate_in_bits=20_000,
        io_max=(IoMax(major=8, minor=0, rbps=10, wbps=10), IoMax(major=8, minor=1, rbps=10)),
    )
    own = Limits(
        cpu_quota_us=20_000,
        net_rate_in_bits=10_000,
        io_max=(IoMax(major=8, minor=0, rbps=5, wbps=20),),
    )
    boost = override(overrides.BOOST, cpu_quota_us=200_000, cpu_period_us=100_000)
    assert overrides.in_force(own, (boost, cap)).cpu_quota_us == 50_000
    found = overrides.in_force(own, (cap,))
    assert (found.cpu_quota_us, found.net_rate_in_bits) == (20_000, 10_000)
    assert found.io_max == (
        IoMax(major=8, minor=0, rbps=5, wbps=10),
        IoMax(major=8, minor=1, rbps=10),
    )
    assert overrides.in_force(Limits(), (cap,)) == cap.limits


def override(owner="a", **limits):
    return LimitOverride(owner=owner, reason="why", since_ns=1, limits=Limits(**limits))


@dataclass
class Asked:
    limits: Limits
    overrides: tuple[LimitOverride, ...]

    @property
    def limits_in_force(self):
        return overrides.in_force(self.limits, self.overrides)


class Kernel:
    """A group's files as far as these fields go: what was written last; a new one has no limits.

    An idle group refuses a weight, and a group that goes idle forgets its own.
    """

    def __init__(self):
        self.held = {}

    def write(self, limits):
        for name, value in limits:
            if name == "io_max":
                for caps in value:
                    for kind in ("rbps", "wbps"):
                        amount = getattr(caps, kind)
                        if amount is not None:
                            self.held[caps.device, kind] = amount
            else:
                self.held[name] = value
        if limits.cpu_idle is None and limits.cpu_weight is not None:
            assert not self.held.get("cpu_idle"), "EINVAL"
        if self.held.get("cpu_idle"):
            self.held.pop("cpu_weight", None)

    def read(self):
        usual = {UNLIMITED, False, 100}
        return {key: value for key, value in self.held.items() if value not in usual}


@given(LIMITS, st.lists(st.tuples(OWNERS, st.one_of(st.none(), LIMITS))))
def test_whatever_was_set_and_lifted_the_kernel_holds_what_is_in_force(asked, changes):
    """None lifts. In the end it is as in a group that was made with what is in force then."""
    kernel, held = Kernel(), ()
    kernel.write(asked)
    for owner, limits in changes:
        before = held
        if limits is None or not dict(limits):
            held = tuple(o for o in held if o.owner != owner)
        else:
            held = overrides.with_override(held, override(owner, **dict(limits)))
        names = {n for o in (*before, *held) if o.owner == owner for n, _ in o.limits}
        was, is_ = (overrides.in_force(asked, some) for some in (before, held))
        kernel.write(overrides.to_write(names, was, is_))
    fresh = Kernel()
    fresh.write(overrides.in_force(asked, held))
    assert kernel.read() == fresh.read()


def test_the_latest_counts_and_an_owner_has_one():
    first = overrides.with_override((), override("a", pids_max=5, cpu_weight=7))
    second = overrides.with_override(first, override("b", pids_max=9))
    assert overrides.in_force(Limits(pids_max=1), second) == Limits(pids_max=9, cpu_weight=7)
    third = overrides.with_override(second, override("a", pids_max=6))
    assert [o.owner for o in third] == ["b", "a"]
    assert overrides.in_force(Limits(pids_max=1), third) == Limits(pids_max=6)
    assert overrides.without(third, "a") == (second[1],)


def test_caps_of_other_devices_and_kinds_stay():
    one, two = IoMax(major=8, minor=0, wbps=5), IoMax(major=8, minor=16, rbps=6)
    over = override(io_max=(IoMax(major=8, minor=0, rbps=7),))
    found = overrides.in_force(Limits(io_max=(one, two)), [over])
    assert found.io_max == (IoMax(major=8, minor=0, wbps=5, rbps=7), two)


def test_shares_are_back_when_a_weight_over_them_is_lifted():
    asked = Limits(cpu_shares=2048)
    held = overrides.in_force(asked, [override(cpu_weight=1)])
    assert held == Limits(cpu_weight=1)
    assert overrides.to_write({"cpu_weight"}, held, asked) == asked


def test_an_update_writes_its_own_fields_as_far_as_no_override_is_over_them():
    """Of a device, too, only the caps that it names: the others stay as the kernel has them."""
    one = IoMax(major=8, minor=0, rbps=5)
    changes = Limits(pids_max=5, cpu_weight=7, io_max=(one,))
    assert overrides.seen_through(changes, ()) == changes
    held = [override(pids_max=9, cpu_shares=2, memory_high_bytes=1 << 30)]
    assert overrides.seen_through(changes, held) == Limits(pids_max=9, io_max=(one,))


@pytest.mark.parametrize(
    ("owner", "reason", "limits", "complaint"),
    [
        ("", "why", {"pids_max": 1}, "override owner"),
        ("a/b", "why", {"pids_max": 1}, "override owner"),
        ("a", " ", {"pids_max": 1}, "a reason is needed"),
        ("a", "x" * 1001, {"pids_max": 1}, "a reason is needed"),
        ("a", "why", {}, "no limit is given"),
        ("a", "why", {"memory_swappiness": 5}, "memory_swappiness cannot be overridden"),
        ("a", "why", {"conf": (("misc.max", "x 1"),)}, "conf cannot be overridden"),
    ],
)
def test_what_is_none(owner, reason, limits, complaint):
    wrong = LimitOverride(owner=owner, reason=reason, since_ns=1, limits=Limits(**limits))
    with pytest.raises(InvalidInputError, match=complaint):
        overrides.checked(wrong)


def test_a_weight_is_back_when_a_group_is_not_idle_any_more():
    asked = Limits(cpu_shares=2048)
    idle = overrides.in_force(asked, [override(cpu_idle=True)])
    back = Limits(cpu_idle=False, cpu_shares=2048)
    assert overrides.to_write({"cpu_idle"}, idle, asked) == back


def test_a_users_own_weight_ends_a_rulesets_idleness_and_waits_for_another_owners():
    asked, changes = Limits(), Limits(cpu_weight=200)
    for owner, left, written in (
        ("policy.calm", (), Limits(cpu_idle=False, cpu_weight=200)),
        ("mine", (override("mine", cpu_idle=True),), Limits()),
    ):
        held = (override(owner, cpu_idle=True),)
        kept = overrides.yielding(held, changes)
        assert kept == left
        before, after = Asked(asked, held), Asked(asked.merged(changes), kept)
        assert overrides.updating(changes, before, after) == written


def test_there_is_a_bound_and_nothing_to_lift():
    many = ()
    for number in range(16):
        many = overrides.with_override(many, override(f"o{number}", pids_max=1))
    with pytest.raises(InvalidInputError, match="there are 16 at most; lift one"):
        overrides.with_override(many, override("more", pids_max=1))
    with pytest.raises(NotFoundError, match="no override of more"):
        overrides.without(many, "more")


def test_each_field_can_be_overridden_or_is_refused():
    known = {*overrides._USUAL, *overrides._PER_DEVICE}
    assert known <= {f.name for f in fields(Limits)}
