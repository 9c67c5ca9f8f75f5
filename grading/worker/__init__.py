"""The process that holds somebody else's solution: it makes objects, calls methods, and gives arrays back.

It computes nothing of its own, and knows neither the right results nor the place of the report. The grader copies this
package, as grading_worker, to a folder for each solution, and starts main.py there. messages.py has the form of a message,
operations.py and training.py have the questions. Needs the standard library and NumPy.
"""
