"""Search by ageing evolution (LeGR)."""
