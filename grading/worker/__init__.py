"""The process of a solution: it makes objects, calls methods, and returns arrays.

It computes nothing itself, and knows neither the expected results nor the path of the report. The grader copies this
package, as grading_worker, to a folder for each solution, and starts main.py there. messages.py has the message format,
operations.py and training.py have the requests. Needs the standard library and NumPy.
"""
