"""The checks on somebody else's solution, one or a class; `python unittests.py --solution DIR …` runs them.

A judge here, the solution in a process of its own: worker/ runs there and only computes what it is asked; remote.py
and sandbox.py start and ask it, interface.py evens out what differs from year to year. source.py reads a solution's
files as text. The files …_part.py judge a part each; causes.py and telling.py turn what came out into findings
(findings.py), judge.py puts the parts together. report.py writes it down, class_run.py does so for many,
command_line.py is the command.
"""
