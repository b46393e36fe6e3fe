"""The forward pass as machine code, made with LLVM where the model is loaded. See docs/compiled-pass.md.

In: a network's weights. Out: an engine (engine.py) that computes the same numbers, several times as fast as PyTorch.

    passes     the two engines
    fused      the whole pass, position by position; layout: where its arguments and larger intermediates lie
    layers     what a layer emits; selection: variable selection networks; attention: its part
    lanes      vectors, loops and memory of the emitted code
"""
