"""The way from a budget to widths: costs, the latency model, allocation."""
