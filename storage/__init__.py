"""Safe writing of files: each is complete or absent, with one writer at a time. Also the formats of the results."""
