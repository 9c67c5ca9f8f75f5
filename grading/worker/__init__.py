"""The process that holds somebody else's solution: it makes objects, calls methods, and gives arrays back.

It is told what to do over pipes, computes nothing of its own, and knows neither what should come out nor where the
report lies. The judge copies this package, as grading_worker, to where the solutions run, and starts server.py, which
imports NumPy once and PyTorch when a solution needs it; for each solution the server forks a process that answers the
operations of operations.py and training.py. Needs the standard library and NumPy, and nothing else of this project.

A message, in both directions, is an eight-byte length, that many bytes of JSON, and the bytes of its arrays in the
order in which the JSON names them: {"array": [dtype, shape]}. {"object": n} is an object that stays here.
"""
