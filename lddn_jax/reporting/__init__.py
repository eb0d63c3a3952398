"""The report page: what is known of a model, what is wrong with it in plain words, and how it is shown."""
