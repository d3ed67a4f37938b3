"""How much each unit matters, and which units stay."""
