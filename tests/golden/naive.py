"""The arithmetic written with loops and Python integers, straight from its definition: slow and independent."""

from fractions import Fraction
from itertools import product
from math import floor


def output(network, layer, sources):
    """One layer's output for one image.

    Parameters
    ----------
    sources : name to nested lists [channel][row][column]

    Returns
    -------
    Nested lists likewise.
    """
    channels, height, width = layer.output.shape
    result = [[[0] * width for _ in range(height)] for _ in range(channels)]
    for m, i, j in product(range(channels), range(height), range(width)):
        number, row, column = place(layer, i, j)
        channel = number * channels + m
        products = []
        for branch in layer.branches:
            products += branch_products(network, branch, channel - branch.channel, row, column, sources[branch.source])
        acc = int(layer.bias[channel]) + (max(products) if layer.maximum else sum(products))
        # Fraction rounds half to even.
        y = Fraction(acc * int(layer.multiplier[channel]), 1 << int(layer.right[channel]))
        if layer.skip:
            y += sources[layer.skip.source][m][i][j] * Fraction(2) ** layer.skip.shift
        y = round(y)
        y = min(max(y, layer.low), layer.high)
        if layer.table:
            y = int(layer.table.entries[y + (2 ** (layer.table.bits - 1) if layer.table.signed else 0)])
        result[m][i][j] = y
    return result


def place(layer, i, j):
    """Number of the part that a position is of, and its row and column there."""
    if not layer.parts:
        return 0, i, j
    found = []
    for number, part in enumerate(layer.parts):
        for row, column in product(range(part.size[0]), range(part.size[1])):
            if (part.offset[0] + row * part.step[0], part.offset[1] + column * part.step[1]) == (i, j):
                found.append((number, row, column))
    (one,) = found
    return one


def bits_read(branch, x):
    """What a branch reads of an activation."""
    narrow = branch.narrow
    if not narrow:
        return x
    top = 2 ** (narrow.bits - 1) if narrow.signed else 2**narrow.bits
    return min(max(floor(Fraction(x, 2**narrow.drop)), -top if narrow.signed else 0), top - 1) * 2**narrow.drop


def branch_products(network, branch, m, i, j, source):
    """Weight times activation of every position of a window, those outside the map left out."""
    if not 0 <= m < branch.codes.shape[1]:
        return []
    points = network.point_sets[branch.point_set]
    height, width = len(source[0]), len(source[0][0])
    _, outputs, inputs, kernel_y, kernel_x = branch.codes.shape
    group = m // (outputs // branch.groups)
    products = []
    for n, ky, kx in product(range(inputs), range(kernel_y), range(kernel_x)):
        y = i * branch.stride[0] - branch.padding[0] + ky * branch.dilation[0]
        x = j * branch.stride[1] - branch.padding[1] + kx * branch.dilation[1]
        if 0 <= y < height and 0 <= x < width:
            weight = sum(
                points.values[int(branch.codes[word, m, n, ky, kx])] << shift
                for word, shift in enumerate(branch.shifts)
            )
            read = group * inputs + n
            activation = source[branch.channels[read] if branch.channels else read][y][x]
            products.append(weight * bits_read(branch, activation))
    return products
