"""The checks of the NumPy modules and the MLP; `python unittests.py` runs them."""
