"""The data set: what it is, where it comes from, and the formats it comes in."""
