"""Amaranth layouts of the records in `golden/isa.py` and of the words in `golden/formats.py`."""

from amaranth import Shape, signed, unsigned
from amaranth.lib import data

from twofold.golden.config import ArrayConfig
from twofold.golden.fields import Field, Record
from twofold.golden.formats import WeightFormat
from twofold.golden.isa import Channel, Pass


def field_shape(field: Field) -> Shape:
    """Shape of one field."""
    return Shape(field.width, field.signed)


def record_layout(record: Record) -> data.StructLayout:
    """Layout of a record's bits, without fields that have none."""
    return data.StructLayout({name: field_shape(field) for name, field in record.fields.items() if field.width})


def row_layout(fmt: WeightFormat) -> data.StructLayout:
    """A row of the decoder's table: the select of each term."""
    return data.StructLayout(fmt.row_fields)


def channels_layout(config: ArrayConfig) -> data.ArrayLayout:
    """A channel line: the channels that are requantised together."""
    return data.ArrayLayout(record_layout(Channel.record(config)), config.requant_units)


def word_layout(config: ArrayConfig) -> data.StructLayout:
    """A decoded word as a PE holds it: the select of each term, and the sign."""
    return data.StructLayout({**config.fmt.row_fields, "sign": 1})


def line_words_layout(config: ArrayConfig) -> data.ArrayLayout:
    """The words of a weight line: one a row, column by column."""
    return data.ArrayLayout(data.ArrayLayout(word_layout(config), config.rows), config.load_columns)


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
            "shift": field_shape(Pass.record(config)["shift"]),
            "first": 1,
            "maximum": 1,
            "bank": 1,
            "col_mask": config.cols,
        }
    )
