"""How fast the MLPs train, beside the matrix products that they need and beside other libraries."""
