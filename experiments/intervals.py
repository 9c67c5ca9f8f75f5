"""Mean, standard deviation and confidence interval of a few runs, as numbers and as text."""

import math
import statistics

# t with P(|T| < t) = 0.95 for Student's distribution with 1, 2, … degrees of freedom (NIST/SEMATECH, 1.3.6.7.2).
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
           2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
           2.0452, 2.0423)


def mean_and_deviation(values):
    """'52.3 ± 0.4': the mean and the sample standard deviation (n − 1); of one value only the value."""
    text = signed(statistics.mean(values)).removeprefix('+')
    return f'{text} ± {statistics.stdev(values):.1f}' if len(values) > 1 else text


def confidence_interval(values):
    """(low, high) of the mean, 95 %: mean ± t s/√n, with Student's t for n − 1 degrees of freedom.

    What it covers if the values are independent and normal. It needs two values.
    """
    mean = statistics.mean(values)
    half = STUDENT[min(len(values) - 1, len(STUDENT)) - 1] * statistics.stdev(values) / math.sqrt(len(values))
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
