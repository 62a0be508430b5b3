"""The bank's custom actions: the customer's mood, blocking a card, disputing a payment."""
