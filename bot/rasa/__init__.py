"""What speaks Rasa's own interfaces: custom actions (in this process or over HTTP)."""
