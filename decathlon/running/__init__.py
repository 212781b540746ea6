"""From a request to finished trials."""
