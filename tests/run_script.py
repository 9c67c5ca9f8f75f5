"""Run a script of the project in a process of its own, on generated data in place of CIFAR-10.

    python run_script.py SCRIPT ARGUMENT … [then SCRIPT ARGUMENT …]

Environment variables: DATA_DIR is the --data_dir of the scripts that have one. GENERATED_CONTENT holds the
cifar10.description.Description to expect, as JSON; PATCHES, as JSON, other values to set: {"module.name": value};
LIMITS what the system is to allow: {"RLIMIT_FSIZE": bytes}. WITHOUT names modules that can't be imported; CPUS
is how many processors the process may use.
"""

import contextlib
import importlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
if 'LIMITS' in os.environ:
    import resource
    for name, value in json.loads(os.environ['LIMITS']).items():
        resource.setrlimit(getattr(resource, name), (value, value))
for name in os.environ.get('WITHOUT', '').split():
    sys.modules[name] = None
if 'CPUS' in os.environ:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(os.environ['CPUS'])])

from cifar10 import description, sources  # noqa: E402
from training import threads  # noqa: E402

# On import too: the processes that the script starts import this file, and need the same.
description.CIFAR10 = description.Description(**json.loads(os.environ['GENERATED_CONTENT']))
sources.ADDRESSES = []
# How busy the machine is depends on what else is tested on it.
threads.ENOUGH = 0
threads.busy_processors = lambda: 0.0
for path, value in json.loads(os.environ.get('PATCHES', '{}')).items():
    module, name = path.rsplit('.', 1)
    setattr(importlib.import_module(module), name, value)

if __name__ == '__main__':
    if hasattr(signal, 'SIGHUP'):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored if the tests run under nohup
    commands = [list(group) for is_command, group in itertools.groupby(sys.argv[1:], 'then'.__ne__) if is_command]
    with contextlib.ExitStack() as stack:
        if len(commands) > 1:  # in one group of processes, since to leave it and join again may hang
            stack.enter_context(importlib.import_module('training.data_parallel').joined_processes())
        for sys.argv in commands:
            if sys.argv[0].startswith(('train', 'compare', 'experiments')):
                sys.argv += ['--data_dir', os.environ['DATA_DIR']]
            importlib.import_module(sys.argv[0].removesuffix('.py')).main()
