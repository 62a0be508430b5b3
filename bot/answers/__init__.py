"""Answers from the company's own documents: what is read, how it is found, what may be said of it."""
