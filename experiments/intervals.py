"""Mean, standard deviation and confidence interval of a few runs, as numbers and as text."""

import functools
import math
import statistics


def mean_and_deviation(values):
    """'52.3 ± 0.4': the mean and the sample standard deviation (n − 1); of one value only the value."""
    text = signed(statistics.mean(values)).removeprefix('+')
    return f'{text} ± {statistics.stdev(values):.1f}' if len(values) > 1 else text


def confidence_interval(values):
    """(low, high) of the mean, 95 %: mean ± t s/√n, with Student's t for n − 1 degrees of freedom.

    What it covers if the values are independent and normal. It needs two values.
    """
    mean = statistics.mean(values)
    half = student_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def difference(values):
    """'+2.5 [+1.9, +3.1]': the mean of the differences and its interval; in bold where that leaves out 0.

    Then the data says which sign the difference has. Of one value only the value.
    """
    text = signed(statistics.mean(values))
    if len(values) == 1:
        return text
    low, high = confidence_interval(values)
    text = f'{text} [{signed(low)}, {signed(high)}]'
    return text if low <= 0 <= high else f'**{text}**'


def signed(value):
    """'+2.5' or '−2.5', with the minus sign of a text; 0 without a sign."""
    text = f'{value:+.1f}'
    return text.replace('-', '−') if float(text) else text[1:]


@functools.cache
def student_quantile(degrees, share=0.95):
    """The t with P(|T| < t) = share for Student's distribution with so many degrees of freedom.

    With t = √ν tan φ the probability is an integral of cos^(ν−1) φ from 0 to φ, over that to π/2.
    """
    def integral(end, steps=400):  # Simpson's rule
        heights = [math.cos(end * step / steps)**(degrees - 1) for step in range(steps + 1)]
        return end / steps / 3 * (heights[0] + 4 * sum(heights[1::2]) + 2 * sum(heights[2:-1:2]) + heights[-1])

    low, high, whole = 0.0, math.pi / 2, integral(math.pi / 2)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if integral(middle) < share * whole else (low, middle)
    return math.sqrt(degrees) * math.tan(low)
