"""The rules that tell personal data from other text: numbers, addresses, names. `bot.redaction` applies them."""
