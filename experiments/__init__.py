"""What was tried once, each with the command that repeats it. Not a part of the installed package."""
