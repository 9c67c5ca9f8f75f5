"""Code that every command of the project shares: flags, messages and exit codes."""
