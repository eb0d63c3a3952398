"""One way to evaluate a network on a record: one step ahead, k steps ahead, in free run, in the units of the record."""
