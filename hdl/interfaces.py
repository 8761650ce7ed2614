"""How the machine's components face each other: signatures, each as seen from the side that is named."""

from amaranth.hdl import ShapeLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import TRANSFER_COUNT_BITS, Drain, Window
from twofold.hdl.layouts import accumulators_layout, activations_layout, field_shape, record_layout


def read_port(address: ShapeLike, line: ShapeLike) -> wiring.Signature:
    """Who reads a memory: the line stands one cycle after its address."""
    return wiring.Signature({"address": Out(address), "line": In(line)})


def feature_writes(config: ArrayConfig) -> wiring.Signature:
    """Who writes activations into feature memory; one enable a lane."""
    return wiring.Signature(
        {
            "enable": Out(config.rows),
            "address": Out(range(config.feature_depth)),
            "data": Out(activations_layout(config)),
        }
    )


def table_writes(config: ArrayConfig) -> wiring.Signature:
    """Who writes entries of tables, one a cycle."""
    return wiring.Signature({"enable": Out(1), "address": Out(range(config.table_lines)), "data": Out(config.act_bits)})


def skip_reads(config: ArrayConfig) -> wiring.Signature:
    """Who reads the lines of a skip: a line stands one cycle after it is enabled, until the next one is."""
    return wiring.Signature({"enable": Out(1), "line": In(activations_layout(config))})


def shared_port(config: ArrayConfig) -> wiring.Signature:
    """Who reads and writes feature memory through one port, never both in a cycle; writes have one enable a lane.

    The line that is read stands one cycle after `read`, until the next read.
    """
    return wiring.Signature(
        {
            "address": Out(range(config.feature_depth)),
            "enable": Out(config.rows),
            "data": Out(activations_layout(config)),
            "read": Out(1),
            "line": In(activations_layout(config)),
        }
    )


def spare_port(config: ArrayConfig) -> wiring.Signature:
    """Who reads feature memory through a port that others need first: the line stands one cycle after `read`, if the
    port was `free` in that cycle. Who writes through it looks at `free` too."""
    return wiring.Signature(
        {
            "free": In(1),
            "read": Out(1),
            "address": Out(range(config.feature_depth)),
            "line": In(config.feature_bits),
        }
    )


def accumulator_port(config: ArrayConfig) -> wiring.Signature:
    """Who reads accumulators: those of a position stand one cycle after bank and position."""
    return wiring.Signature(
        {
            "bank": Out(1),
            "position": Out(range(config.acc_depth)),
            "line": In(accumulators_layout(config)),
        }
    )


def draining(config: ArrayConfig) -> wiring.Signature:
    """Who gives drains: `start` begins to drain a bank of ``width * height`` positions, only while `idle`.

    When it is idle again, all activations of the drain can be read.
    """
    window = Window.record(config)
    return wiring.Signature(
        {
            "start": Out(1),
            "operands": Out(record_layout(Drain.record(config))),
            "bank": Out(1),
            "width": Out(field_shape(window["width"])),
            "step": Out(field_shape(window["out_step"])),
            "height": Out(field_shape(window["height"])),
            "idle": In(1),
        }
    )


#: The loader. `between`: no frame has begun. `finished`: a frame ended well in this cycle; `has_program` and
#: `has_input` say what it held. `error_valid`: a frame failed in this cycle with the code `error`; `touched` says
#: whether it wrote to anything but feature memory.
LOADING = wiring.Signature(
    {
        "between": Out(1),
        "finished": Out(1),
        "has_program": Out(1),
        "has_input": Out(1),
        "touched": Out(1),
        "error": Out(8),
        "error_valid": Out(1),
    }
)

#: The sequencer. `run`: begin in the next cycle, only while not `busy`. `complete`, `failed`: in the last busy cycle,
#: it reached END or an illegal instruction. `cycles`, `passes`: of the program that runs or ran last.
INFERENCE = wiring.Signature(
    {
        "run": In(1),
        "busy": Out(1),
        "complete": Out(1),
        "failed": Out(1),
        "cycles": Out(32),
        "passes": Out(32),
    }
)

#: Who runs a program on a list of transfers. `start`: begin with the list in the next cycle, only while `idle`. `stop`:
#: begin nothing more; held until `idle`. `done`: transfers done since the start. `finished`: the list is at its end and
#: all of it is done. `stuck`: all is done but what waits for a drain that has not begun. `fault`: since the start, the
#: bus answered an error or an entry was none.
TRANSFERRING = wiring.Signature(
    {
        "start": Out(1),
        "stop": Out(1),
        "done": In(TRANSFER_COUNT_BITS),
        "finished": In(1),
        "stuck": In(1),
        "fault": In(1),
        "idle": In(1),
    }
)
