"""AXI4 as the machine's master speaks it: one ID, beats as wide as the bus, bursts within blocks of 256 beats."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.transfers import ADDRESS_BITS, BURST_BEATS, BURST_BYTES

#: A block is aligned to its own size, so a burst within one never crosses a boundary of `BURST_BYTES`.
BLOCK_BITS = bits_for(BURST_BEATS)
#: Every beat is the next one of memory (INCR).
INCREMENT = 1
#: Bit of a response that says that it is an error: SLVERR or DECERR.
ERROR_BIT = 1


def byte_bits(config: ArrayConfig) -> int:
    """Bits of an address in bytes below a beat."""
    return bits_for(config.bus_bits // 8)


def beat_bits(config: ArrayConfig) -> int:
    """Bits of an address in beats."""
    return ADDRESS_BITS - byte_bits(config)


def page_bits(config: ArrayConfig) -> int:
    """Bits of an address in beats below a boundary of `BURST_BYTES`."""
    return bits_for(BURST_BYTES) - byte_bits(config)


def _address(name: str) -> dict[str, wiring.Member]:
    """The channel of addresses, whose names begin with `name`."""
    widths = {"id": 1, "addr": ADDRESS_BITS, "len": BLOCK_BITS, "size": 3, "burst": 2, "lock": 1}
    widths |= {"cache": 4, "prot": 3, "qos": 4, "valid": 1}
    return {f"{name}{field}": Out(width) for field, width in widths.items()} | {f"{name}ready": In(1)}


def read_channels(config: ArrayConfig) -> wiring.Signature:
    """The master's side of the channels that read."""
    return wiring.Signature(
        {
            **_address("ar"),
            "rid": In(1),
            "rdata": In(config.bus_bits),
            "rresp": In(2),
            "rlast": In(1),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


def write_channels(config: ArrayConfig) -> wiring.Signature:
    """The master's side of the channels that write."""
    return wiring.Signature(
        {
            **_address("aw"),
            "wdata": Out(config.bus_bits),
            "wstrb": Out(config.bus_bits // 8),
            "wlast": Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bid": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
        }
    )


def commands(config: ArrayConfig) -> stream.Signature:
    """Runs of beats: the address of the first one, and how many there are, minus one."""
    bits = beat_bits(config)
    return stream.Signature(data.StructLayout({"address": bits, "count": bits}))


def address_values(config: ArrayConfig, name: str) -> dict[str, int]:
    """What never changes on the channel of addresses whose names begin with `name`; what is not here is 0."""
    return {f"{name}size": byte_bits(config), f"{name}burst": INCREMENT}
