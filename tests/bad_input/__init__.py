"""Wrong calls that people really make, by subject: name -> (call, error, words that its message must hold).

A call is given a kit, whose networks and records are made beforehand. A wrong command line is (line, words). A module
gives calls as `rows()`, command lines as `lines()`, and what it adds to the kit as `files(folder)`, by name.
"""
