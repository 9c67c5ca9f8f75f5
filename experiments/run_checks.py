"""Checks on one run of a results file, which may hold anything: each says whether a value is possible."""

LARGEST = 1e300  # of any number: JSON has whole numbers that no float can hold


def check(run, name, test):
    """Raise ValueError where the run is no object, lacks the value of that name, or the test refuses it."""
    if not isinstance(run, dict):
        raise ValueError(f'no object with {name}')
    if name not in run:
        raise ValueError(f'{name} is missing')
    if not test(run[name]):
        raise ValueError(f'{name} has no possible value')


def is_list_of(values, test, length=None):
    return isinstance(values, list) and length in (None, len(values)) and all(map(test, values))


def is_whole(value, lowest, highest=LARGEST):
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def is_share(value):
    return is_number(value) and 0 <= value <= 1


def is_seed(value):
    return is_whole(value, 0, 2**32 - 1)


def is_truth(value):
    return isinstance(value, bool)
