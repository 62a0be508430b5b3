"""What a message may do to the bot or say about its writer, told by patterns alone: no model, no I/O."""
