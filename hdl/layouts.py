"""Amaranth layouts of the field tables in `golden/isa.py` and `golden/formats.py`."""

from collections.abc import Mapping

from amaranth import Shape, signed, unsigned
from amaranth.lib import data

from twofold.golden import isa
from twofold.golden.config import ArrayConfig


def fields_layout(fields: Mapping[str, int]) -> data.StructLayout:
    """Layout with the fields of a table, least significant first, signed where `isa.SIGNED_FIELDS` says so."""
    return data.StructLayout({name: _shape(name, width) for name, width in fields.items()})


def _shape(name: str, width: int) -> Shape:
    return signed(width) if name in isa.SIGNED_FIELDS else unsigned(width)


def word_layout(config: ArrayConfig) -> data.StructLayout:
    """A decoded word as a PE holds it: the select of each term, and the sign."""
    return data.StructLayout({**config.fmt.row_fields, "sign": 1})


def code_layout(config: ArrayConfig) -> data.StructLayout:
    """A weight code: index and sign."""
    return data.StructLayout(config.fmt.code_fields)


def activations_layout(config: ArrayConfig) -> data.ArrayLayout:
    """A feature line: one activation a lane."""
    return data.ArrayLayout(unsigned(config.act_bits), config.rows)


def operands_layout(config: ArrayConfig) -> data.ArrayLayout:
    """The activations of a line as operands of the array: signed ones raised by `ArrayConfig.operand_offset`."""
    return data.ArrayLayout(unsigned(config.act_bits), config.rows)


def sums_layout(config: ArrayConfig) -> data.ArrayLayout:
    """The column sums of a position."""
    return data.ArrayLayout(unsigned(config.sum_bits), config.cols)


def accumulators_layout(config: ArrayConfig) -> data.ArrayLayout:
    """The accumulators of a position, one a column."""
    return data.ArrayLayout(signed(config.acc_width), config.cols)


def tag_layout(config: ArrayConfig) -> data.StructLayout:
    """What travels beside a position through the array and says what to do with its sums."""
    return data.StructLayout(
        {
            "valid": 1,
            "outside": 1,
            "position": range(config.acc_depth),
            "shift": isa.pass_fields(config)["shift"],
            "first": 1,
            "maximum": 1,
            "bank": 1,
            "col_mask": config.cols,
        }
    )
