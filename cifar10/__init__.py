"""The data set: its description, its sources and its file formats."""
