"""From records to an identified network: settings, recipes and the comparison of structures."""
