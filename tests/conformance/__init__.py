"""Random conversations over real and generated bots, played by Kefu and by a live Rasa side by side."""
