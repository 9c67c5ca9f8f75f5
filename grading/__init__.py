"""The checks on somebody else's solution; `python unittests.py --solution DIR` runs them."""
