"""The arithmetic written with loops and Python integers, straight from its definition: slow and independent."""

from fractions import Fraction
from itertools import product


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
        products = []
        for term in layer.terms:
            products += term_products(network, term, m - term.channel, i, j, sources[term.source])
        acc = int(layer.bias[m]) + (max(products) if layer.maximum else sum(products))
        # Fraction rounds half to even.
        y = round(Fraction(acc * int(layer.multiplier[m]), 1 << int(layer.right[m])))
        result[m][i][j] = min(max(y, layer.low), layer.high)
    return result


def term_products(network, term, m, i, j, source):
    """Weight times activation of every position of a window, those outside the map left out."""
    if not 0 <= m < term.codes.shape[1]:
        return []
    points = network.points[term.points]
    height, width = len(source[0]), len(source[0][0])
    _, outputs, inputs, kernel_y, kernel_x = term.codes.shape
    group = m // (outputs // term.groups)
    products = []
    for n, ky, kx in product(range(inputs), range(kernel_y), range(kernel_x)):
        y = i * term.stride[0] - term.padding[0] + ky * term.dilation[0]
        x = j * term.stride[1] - term.padding[1] + kx * term.dilation[1]
        if 0 <= y < height and 0 <= x < width:
            weight = sum(
                points.values[int(term.codes[word, m, n, ky, kx])] << shift for word, shift in enumerate(term.shifts)
            )
            products.append(weight * source[group * inputs + n][y][x])
    return products
