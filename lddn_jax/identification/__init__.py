"""System identification from records: settings, training recipes and structure selection."""
