"""What every command of the project has in common: its flags, its messages, how it ends."""
