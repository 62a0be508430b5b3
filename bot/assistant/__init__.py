"""A Rasa-format project on disk, read into one frozen, validated value. Nobody else reads YAML.

Start at `loader.load_assistant`. What the files mean for a conversation is decided in `bot.dialogue`, not here.
"""
