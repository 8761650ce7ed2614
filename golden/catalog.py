"""Named weight formats and point sets, each with its source."""

from twofold.golden.formats import PointSet, WeightFormat, digit_levels


def log_format(bits: int, *, asymmetric: bool = False) -> WeightFormat:
    """Log word of `bits` bits, sign included: zero and powers of two.

    Symmetric (default): ``{0, +-1, +-2, ... +-2**(2**(bits-1)-2)}`` in LSBs, magnitude code k being
    ``2**(k-1)``. Source: [Sigma] section 2.2 (base-2 logarithmic). Asymmetric: one more negative level, the
    smallest, is the code that would be negative zero; then magnitude code k is ``2**k`` and the
    spare code is -1. Source: [STLQ], LogQuant with M = ``2**(bits-1)``.

    Raises
    ------
    ValueError
        If `bits` is not 2 to 5.
    """
    if not isinstance(bits, int) or not 2 <= bits <= 5:
        raise ValueError(f"Log word must be 2 to 5 bits, not {bits!r}")
    magnitudes = (1 << (bits - 1)) - 1
    if asymmetric:
        return WeightFormat(menus=((*range(magnitudes + 1), None),), index_bits=bits - 1, spare=0)
    return WeightFormat(menus=((*range(magnitudes), None),), index_bits=bits - 1)


def log_points(fmt: WeightFormat) -> PointSet:
    """The one point set of a log format: zero, then its powers of two, ascending."""
    shifts = [shift for shift in fmt.menus[0] if shift is not None and shift != fmt.spare]
    return PointSet(fmt, (0, *(1 << shift for shift in shifts)))


#: Shift menus (A, B) of the five universal sets, in units of the smallest term of each.
#: Source: [SubsetQ] table 1, fractions multiplied by 16, 32, 16, 32 and 16.
SUBSET_MENUS: dict[int, tuple[tuple[int | None, ...], tuple[int | None, ...]]] = {
    1: ((3, 2, 1, None), (3, 2, 0, None)),
    2: ((5, 3, 1, None), (4, 2, 0, None)),
    3: ((4, 3, 2, 1, 0, None), (4, 3, 2, 1, 0, None)),
    4: ((5, 4, 3, 2, 1, 0, None), (5, 4, 3, 2, 1, 0, None)),
    5: ((4, 3, 1, None), (4, 2, 0, None)),
}


def subset_format(bits: int, option: int = 5, *, menus: str = "") -> WeightFormat:
    """Subset word of `bits` bits, sign included, over one of the paper's universal sets ([SubsetQ] table 1) or another.

    Parameters
    ----------
    bits
        2 to 4.
    option
        1 to 5.
    menus
        Instead of an option, the left shifts of each term: ``"4 3 1 off + 4 2 0 off"`` is option 5.

    Raises
    ------
    ValueError
        If `bits` is not 2 to 4, the option is not 1 to 5, or the menus are not two terms of shifts.
    """
    if not isinstance(bits, int) or not 2 <= bits <= 4:
        raise ValueError(f"Subset word must be 2 to 4 bits, not {bits!r}")
    if option not in SUBSET_MENUS:
        raise ValueError(f"Universal set must be one of {tuple(SUBSET_MENUS)}, not {option!r}")
    return WeightFormat(menus=parse_menus(menus) if menus else SUBSET_MENUS[option], index_bits=bits - 1)


def parse_menus(text: str) -> tuple[tuple[int | None, ...], ...]:
    """Menus of a subset format written as in ``"4 3 1 off + 4 2 0 off"``.

    Raises
    ------
    ValueError
        If there are not two terms, or an entry is neither a number nor ``off``.
    """
    terms = [term.split() for term in text.split("+")]
    entries = [entry for term in terms for entry in term]
    if len(terms) != 2 or not all(terms) or not all(e == "off" or (e.isascii() and e.isdigit()) for e in entries):
        raise ValueError(f"Menus must be two terms of shifts or 'off', as in '4 3 1 off + 4 2 0 off', not {text!r}")
    return tuple(tuple(None if entry == "off" else int(entry) for entry in term) for term in terms)


def digit_points(fmt: WeightFormat) -> PointSet:
    """Point set whose codes are the signed digits of radix ``2**fmt.radix_bits``.

    For a log format that is its only set, and digit d is the word ``d << fmt.digit_shift``. For a subset
    format the digits come first and the remaining indices repeat the last digit.
    """
    if len(fmt.menus) == 1:
        return log_points(fmt)
    levels = digit_levels(fmt.radix_bits)
    return PointSet(fmt, levels + (levels[-1],) * (fmt.point_count - len(levels)))


def signed_digits(value: int, radix_bits: int, count: int) -> tuple[int, ...]:
    """Signed digits of an integer, least significant first: ``sum(d[i] << (i * radix_bits)) == value``.

    Parameters
    ----------
    value
        Integer to write.
    radix_bits
        log2 of the radix k; digits are ``-2**(k-1) .. 2**(k-1)``, for k = 1 ``-1 .. 1``.
    count
        Number of digits.

    Raises
    ------
    ValueError
        If `count` digits cannot hold the value.
    """
    half = digit_max(radix_bits)
    digits = []
    rest = abs(value)
    for _ in range(count):
        digit = rest & ((1 << radix_bits) - 1)
        if digit > half:
            digit -= 1 << radix_bits
        digits.append(digit if value >= 0 else -digit)
        rest = (rest - digit) >> radix_bits
    if rest:
        raise ValueError(f"Value must fit in {count} signed digits of radix {1 << radix_bits}, not {value!r}")
    return tuple(digits)


def digit_count(largest: int, radix_bits: int) -> int:
    """Digits that every integer from ``-largest`` to ``largest`` can be written with."""
    count = 1
    while (digit_max(radix_bits) * ((1 << (radix_bits * count)) - 1)) // ((1 << radix_bits) - 1) < largest:
        count += 1
    return count


def digit_max(radix_bits: int) -> int:
    """Largest signed digit of radix ``2**radix_bits``."""
    return digit_levels(radix_bits)[-1]
