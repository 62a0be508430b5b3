"""Kefu: what happens to a customer's message between a channel and an answer."""

__version__ = "0.1.0"
