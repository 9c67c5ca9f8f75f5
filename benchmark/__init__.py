"""How fast the MLPs train, relative to their matrix products and to other libraries."""
