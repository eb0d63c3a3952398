"""The commands of the command line, one file each: `add` declares its flags, and says what it runs."""
