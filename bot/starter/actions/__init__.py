"""The starter assistant's custom actions and its demo order database."""
