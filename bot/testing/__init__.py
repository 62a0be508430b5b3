"""`kefu test`: an assistant measured as `rasa test` does, with the same report files."""
