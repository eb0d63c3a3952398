"""HTML report of a trained network: evaluation, diagnostics, warnings and figures."""
