"""Run a script of the project in a process of its own, on generated data in place of CIFAR-10.

    python run_script.py SCRIPT ARGUMENT …

The environment variable GENERATED_CONTENT holds the cifar10_sources.Content to expect, as JSON;
with WITHOUT_TORCH set, torch can't be imported.
"""

import json
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
if os.environ.get('WITHOUT_TORCH'):
    sys.modules['torch'] = None

import cifar10_sources  # noqa: E402

cifar10_sources.CIFAR10 = cifar10_sources.Content(*json.loads(os.environ['GENERATED_CONTENT']))
cifar10_sources.ADDRESSES = json.loads(os.environ.get('GENERATED_ADDRESSES', '[]'))
sys.argv = sys.argv[1:]
runpy.run_path(str(ROOT / sys.argv[0]), run_name='__main__')
