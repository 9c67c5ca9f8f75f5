"""Mean, standard deviation and confidence interval of a few runs, as numbers and as text."""

import dataclasses
import functools
import math
import statistics

FALSE_DISCOVERIES = 0.05  # the expected share of false ones among the differences that significant() returns


@dataclasses.dataclass(frozen=True)
class Difference:
    """The differences between two kinds of runs, a value for each seed."""

    values: tuple

    def text(self, survivors):
        """'**+2.5 [+1.9, +3.1]**': the mean and its interval; of one value only the value.

        Bold if it is one of the survivors; with † if its own interval excludes 0 but it is none of them.
        """
        text = signed(statistics.mean(self.values))
        if len(self.values) == 1:
            return text
        low, high = confidence_interval(self.values)
        text = f'{text} [{signed(low)}, {signed(high)}]'
        return f'**{text}**' if self in survivors else text if low <= 0 <= high else f'{text}†'


def significant(differences):
    """The differences from 0 that are significant together, by Benjamini and Hochberg (1995)."""
    p_values = {each: p_value(each.values) for each in differences if len(each.values) > 1}
    in_order = sorted(p_values, key=p_values.get)
    number = max((i for i, each in enumerate(in_order, start=1)
                  if p_values[each] <= FALSE_DISCOVERIES * i / len(in_order)), default=0)
    return set(in_order[:number])


def p_value(values):
    """How probable a mean at least this far from 0 is if the true mean is 0: the two-sided t-test."""
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    if not deviation:
        return float(mean == 0)
    return outside(math.sqrt(len(values)) * abs(mean) / deviation, len(values) - 1)


def outside(t, freedom):
    """P(|T| ≥ t) for Student's t distribution: Abramowitz and Stegun, 26.7.3 for odd degrees of freedom, 26.7.4 for even."""
    angle, odd = math.atan(t / math.sqrt(freedom)), freedom % 2
    term, total = math.cos(angle) if odd else 1, 0
    for i in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle)**2 * i / (i + 1)
    inside = math.sin(angle) * total
    return 1 - (2 / math.pi * (angle + inside) if odd else inside)


@functools.cache
def quantile(freedom):
    """The t with P(|T| < t) = 0.95, by bisection."""
    low, high = 0, 13  # one degree of freedom has the largest, 12.7
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle, freedom) > 0.05 else (low, middle)
    return high


def mean_and_deviation(values):
    """'52.3 ± 0.4': the mean and the sample standard deviation (n − 1); of one value only the value."""
    text = signed(statistics.mean(values)).removeprefix('+')
    return f'{text} ± {statistics.stdev(values):.1f}' if len(values) > 1 else text


def confidence_interval(values):
    """(low, high) of the mean, 95 %: mean ± t s/√n, with Student's t for n − 1 degrees of freedom.

    It assumes that the values are independent and normal. It needs two values.
    """
    mean = statistics.mean(values)
    half = quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def signed(value):
    """'+2.5' or '−2.5', with the minus sign of a text; 0 without a sign."""
    text = f'{value:+.1f}'
    return text.replace('-', '−') if float(text) else text[1:]
