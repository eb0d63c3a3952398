"""Files that are whole or rejected, and the versions that a number was computed with."""
