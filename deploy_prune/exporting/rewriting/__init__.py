"""Operators that a converter fails on, or that are read in two ways, in equal forms that convert: `rewrite` has the
table, `forms` and `pooling` what it names, `call` what they see of a network.
"""
