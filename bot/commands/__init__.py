"""Commands of `kefu` that have a file of their own: thin, each calls one function elsewhere."""
