"""The decoder: every code of every point set."""

import random

import cocotb

from twofold.golden.catalog import log_points
from twofold.golden.fields import Record
from twofold.golden.formats import PointSet
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split, struct, word_bits, word_record

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
FMT, LANES = CONFIG.fmt, CONFIG.load_columns * CONFIG.rows
timed = cocotb.test(timeout_time=10, timeout_unit="ms")


def decoded(points: PointSet, code: int) -> int:
    """Bits of the word that a code stands for."""
    sign, index = divmod(code, FMT.point_count)
    row = points.rows[index]
    if FMT.spare is not None and sign and not index:
        row = (FMT.menus[0].index(FMT.spare),)
    return struct(word_record(CONFIG), **{f"term{n}": pick for n, pick in enumerate(row)}, sign=sign)


@timed
async def every_code_is_decoded(dut):
    numbers = random.Random(SEED)
    decoder = Driver(dut)
    if CONFIG.pe == "log":
        sets = [log_points(FMT)]
        await decoder.start("codes")
    else:
        await decoder.start("table__valid", "table__payload", "set", "codes")
        sets = [PointSet(FMT, tuple(numbers.choices(FMT.universal_set, k=FMT.point_count))) for _ in range(CONFIG.sets)]
        lines = [(number * FMT.point_count + n, row) for number, s in enumerate(sets) for n, row in enumerate(s.rows)]
        numbers.shuffle(lines)
        record = Record.unsigned({"line": max(1, (len(lines) - 1).bit_length()), **FMT.row_fields})
        for line, row in lines:
            picks = {f"term{n}": pick for n, pick in enumerate(row)}
            decoder.set(table__valid=1, table__payload=struct(record, line=line, **picks))
            await decoder.step()
        decoder.set(table__valid=0)
    for number, points in [*enumerate(sets), (0, sets[0])]:
        if CONFIG.pe == "subset":
            decoder.set(set=number)
            await decoder.step()
        for _ in range(4):
            codes = [numbers.randrange(2 * FMT.point_count) for _ in range(LANES)]
            for code in range(2 * FMT.point_count):
                codes[numbers.randrange(LANES)] = code
                decoder.set(codes=join(codes, FMT.code_bits))
                await decoder.settle()
                got = split(decoder.get("words"), word_bits(CONFIG), LANES, signed=False)
                equal(got, [decoded(points, code) for code in codes], f"Set {number}, word of lane", inputs=codes)
            await decoder.step()
