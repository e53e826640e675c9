"""What a study is asked for: its YAML file, parsed and validated; nothing else is read."""
