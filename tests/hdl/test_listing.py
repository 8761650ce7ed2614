"""The listing of a build: what its ports, registers and memories are."""

import json

from twofold.golden.config import ArrayConfig
from twofold.hdl.listing import listing, listing_markdown

LOG = ArrayConfig(name="small_log", pe="log", rows=4, cols=4, word_bits=3)


def test_listing_tells_ports_and_registers():
    data = listing(LOG)
    assert {"name": "s_axis_tdata", "direction": "input", "bits": 32} in data["ports"]
    assert {"name": "s_axil_rdata", "direction": "output", "bits": 32} in data["ports"]
    assert [row["address"] for row in data["registers"]] == list(range(0, 0x24, 4))
    page = listing_markdown(LOG)
    assert "| CONTROL | 0x10 | write |" in page
    json.dumps(data)
