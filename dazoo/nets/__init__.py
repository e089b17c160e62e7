"""Layer 3: backbones, small network parts, the ``Net`` that holds them, and the cache of frozen features."""
