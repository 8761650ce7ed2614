"""The proof of the machine's wiring leaves no input out."""

import pytest
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.formal.wiring import MachineWiring, _Hollow, unstated
from twofold.golden.config import load_config

CONFIG = load_config("configs/subset_4x4.toml")
PARTS = MachineWiring._parts(CONFIG)
#: What no output of the same name gives: it comes from memories and from the host, or is made of several things.
STATED = {name for name in unstated(PARTS, set()) if ".axi__" not in name}


def with_another(members):
    return unstated(PARTS | {"more": _Hollow("more", wiring.Component(members))}, set())


def test_inputs_that_have_no_output_of_their_name():
    assert STATED == {
        *("loader.i__payload", "loader.i__valid", "loader.enable"),
        *("sequencer.program__line", "requantiser.channel__line", "compute.feature__line", "sender.feature__line"),
        "requantiser.feature__line",
        *("decoder.codes", "decoder.table__payload", "decoder.table__valid", "sender.o__ready"),
    }
    assert unstated(PARTS, {tuple(name.split(".")) for name in unstated(PARTS, set())}) == []


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ({"nothing": In(1), "sent": In(1)}, {"more.nothing"}),
        ({"sent": Out(1)}, {"sequencer.sent"}),
    ],
    ids=["an input that nothing gives", "an output that gives what another does"],
)
def test_an_input_of_which_nothing_is_known_is_found(members, found):
    assert set(with_another(members)) - set(unstated(PARTS, set())) == found
