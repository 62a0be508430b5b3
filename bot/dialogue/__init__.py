"""The dialogue core: values in, values out. No clock, no I/O, no model.

Start at `manager.turn`. A turn is a generator that yields effects (run this custom action) and ends with a `Turn`.
"""
