import re
from dataclasses import replace

import pytest

from twofold.golden.config import ArrayConfig, bits_for, load_config

LOG = ArrayConfig(name="a", pe="log", rows=8, cols=4, word_bits=3)
SUBSET = ArrayConfig(name="b", pe="subset", rows=4, cols=16, word_bits=4, act_bits=4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": 3}, TypeError, "name must be a string, not 3"),
        ({"rows": 8.0}, TypeError, "rows must be an integer, not 8.0"),
        ({"rows": True}, TypeError, "rows must be an integer, not True"),
        ({"asymmetric": 1}, TypeError, "asymmetric must be true or false, not 1"),
        ({"name": "a-b"}, ValueError, "name must be letters, digits and underscores, not 'a-b'"),
        ({"pe": "mac"}, ValueError, "pe must be one of ('log', 'subset'), not 'mac'"),
        ({"rows": 1}, ValueError, "rows must be 2 to 64, not 1"),
        ({"cols": 128}, ValueError, "cols must be 2 to 64, not 128"),
        ({"rows": 6}, ValueError, "rows must be a power of two, not 6"),
        ({"word_bits": 6}, ValueError, "word_bits must be 2 to 5, not 6"),
        ({"pe": "subset", "word_bits": 5}, ValueError, "word_bits must be 2 to 4 for the subset PE, not 5"),
        ({"act_bits": 9}, ValueError, "act_bits must be 2 to 8, not 9"),
        ({"acc_width": 49}, ValueError, "acc_width must be 8 to 48, not 49"),
        ({"acc_width": 12}, ValueError, "acc_width must be at least 13 (one column sum), not 12"),
        ({"requant_units": 8}, ValueError, "requant_units must be at most 4 (the smaller of rows and cols), not 8"),
        ({"requant_units": 3}, ValueError, "requant_units must be a power of two, not 3"),
        ({"load_columns": 0}, ValueError, "load_columns must be 1 to 64, not 0"),
        ({"load_columns": 3}, ValueError, "load_columns must divide 4 (cols), not 3"),
        ({"load_columns": 8}, ValueError, "load_columns must divide 4 (cols), not 8"),
        ({"universal_set": 6}, ValueError, "universal_set must be one of (1, 2, 3, 4, 5), not 6"),
        ({"acc_depth": 3}, ValueError, "acc_depth must be 4 to 65536, not 3"),
        ({"max_pass_shift": 32}, ValueError, "max_pass_shift must be 0 to 31, not 32"),
        ({"digits": 0}, ValueError, "digits must be 1 to 8, not 0"),
        ({"digit_span": -1}, ValueError, "digit_span must be 0 to 31, not -1"),
        ({"max_side": 4097}, ValueError, "max_side must be 2 to 4096, not 4097"),
    ],
)
def test_impossible_values_are_refused(change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        replace(LOG, **change)


def test_widths_by_hand():
    # Terms of 8 + 2 bits: 1023, 10 bits; 8 of them: 8184, 13 bits.
    assert (LOG.clip_bits, LOG.product_max, LOG.product_bits, LOG.sum_bits) == (9, 1023, 10, 13)
    # Terms of bits 1 to 7 and 0 to 7: 254 + 255 = 509, 9 bits; 4 of them: 2036, 11 bits.
    assert (SUBSET.clip_bits, SUBSET.product_max, SUBSET.product_bits, SUBSET.sum_bits) == (5, 509, 9, 11)
    assert (LOG.operand_max, LOG.operand_offset, SUBSET.operand_max, SUBSET.operand_offset) == (255, 128, 15, 8)
    assert (LOG.feature_bits, SUBSET.feature_bits) == (64, 16)
    assert (LOG.scaled_bits, LOG.coord_bits) == (42, 10)
    assert (LOG.sets, SUBSET.sets) == (1, 4)


@pytest.mark.parametrize(
    ("rows", "cols", "expected"),
    [
        (4, 4, ["0021", "1002", "2100", "0210"]),
        (8, 4, ["0021", "1002", "2100", "0210"] * 2),
        (4, 8, ["00210021", "10021002", "21002100", "02100210"]),
    ],
)
def test_delays_of_a_chain_by_hand(rows, cols, expected):
    config = replace(LOG, rows=rows, cols=cols)
    assert ["".join(str(config.delay(row, col)) for col in range(cols)) for row in range(rows)] == expected


def test_product_bases_by_hand():
    assert [LOG.product_base(level, False) for level in (0, 1, 2, 4)] == [1023, 768, 513, 3]
    assert [LOG.product_base(level, True) for level in (0, 1, 2, 4)] == [1023] * 4
    assert (SUBSET.product_base(32, False), SUBSET.product_base(3, False)) == (509 - 480, 509 - 45)


@pytest.mark.parametrize("config", [LOG, SUBSET])
def test_widths_hold_the_extremes_and_no_narrower_one_does(config):
    top, most = config.operand_max, config.fmt.max_level
    products = [config.product_base(most, False), config.product_base(most, False) + most * top]
    products += [config.product_base(most, True) - most * top, config.product_base(0, False)]
    assert min(products) >= 0
    assert max(products).bit_length() == config.product_bits
    assert (config.rows * max(products)).bit_length() == config.sum_bits


def test_adder_tree_stages_by_hand():
    stages = {(2, 2): 1, (8, 1): 3, (8, 2): 2, (16, 2): 2, (64, 3): 2, (64, 8): 1}
    for (rows, step), count in stages.items():
        assert replace(LOG, rows=rows, tree_step=step, cols=4).tree_stages == count


def test_bits_for_by_hand():
    assert [bits_for(count) for count in (1, 2, 3, 4, 5, 256, 257)] == [1, 1, 2, 2, 3, 8, 9]


def test_the_build_hash_names_everything_but_the_name():
    assert replace(LOG, name="other").build_hash == LOG.build_hash
    changes = ({"rows": 4}, {"asymmetric": True}, {"acc_width": 30}, {"tree_step": 1}, {"digits": 2})
    hashes = {replace(LOG, **change).build_hash for change in (*changes, {"load_columns": 2})} | {LOG.build_hash}
    assert len(hashes) == 7
    assert all(0 <= number < 1 << 32 for number in hashes)


def test_a_file_gives_the_build(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\npe = "log"\nrows = 8\ncols = 4\nword_bits = 3\n', encoding="utf-8")
    assert load_config(path) == LOG
    assert load_config(str(path)) == LOG


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("pe = \n", ValueError, "file must be TOML, not this: Invalid value (at line 1, column 6)"),
        ('pe = "log"\n', ValueError, "key 'name' must be given, not left out"),
        ('name="a"\npe="log"\nrows=7\ncols=4\nword_bits=3\n', ValueError, "rows must be a power of two, not 7"),
        ('name="a"\npe="log"\nrows="8"\ncols=4\nword_bits=3\n', TypeError, "rows must be an integer, not '8'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, error, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=f"^{re.escape(f'{path}: {message}')}$"):
        load_config(path)


def test_an_unknown_key_is_named(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text("row = 8\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: key must be one of \('name', .*\), not 'row'$"):
        load_config(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_config(tmp_path / "none.toml")
