"""Commands of the command line, one file each: `add` declares the options, `run` runs the command."""
