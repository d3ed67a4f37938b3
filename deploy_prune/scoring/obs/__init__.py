"""OBS curves: what each group loses at each width, and in which order its units go, from one pass over images.

Kin: optimal brain surgeon; OBC; ZipLM (arXiv 2302.04089), the same for language models with a latency table per layer.
"""
