"""The command line: one file per verb, whose function's signature is its flags; only here is anything printed."""
