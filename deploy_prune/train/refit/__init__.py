"""The closed-form refit of a cut network: layers behind a cut give again what they gave before, by least squares."""
