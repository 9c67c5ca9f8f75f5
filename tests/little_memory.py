"""A process that gets no more memory than it has, and so much."""

import contextlib

import pytest

from conftest import LINUX


@contextlib.contextmanager
def little_memory(more):
    """This process can get so many bytes more, and no others, until the context ends."""
    if not LINUX:
        pytest.skip('needs Linux: its limits')
    import resource

    with open('/proc/self/statm') as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
