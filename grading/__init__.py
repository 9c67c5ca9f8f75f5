"""The grader of other solutions, one or a class; `python unittests.py --solution DIR …` runs it.

A solution runs in its own process: worker/ runs there and only answers requests. remote.py and sandbox.py start the
process and send the requests. interface.py hides the differences between the editions of the course. source.py reads a
solution's files as text. Each file …_part.py grades a part; causes.py and diagnosis.py turn its results into findings
(findings.py), and judge.py combines the parts. report.py writes the report on a solution, class_run.py grades a class,
and command_line.py is the command.
"""
