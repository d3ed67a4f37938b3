"""An exported file against its network: `reference` asks the network, `verification` runs the file on the same inputs,
`comparison` judges, `divergence` finds the first layer that differs.
"""
