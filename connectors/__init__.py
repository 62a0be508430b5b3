"""One file a channel. Leaves: no database, no models."""
