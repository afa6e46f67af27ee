"""Images: their names, where they come from, their layers, and root file systems made of them.

`store.Images` is the whole of it for the engine. The modules below `unpack` run in a bare
interpreter: this one imports nothing.
"""
