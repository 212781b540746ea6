"""The whole way on generated data: small domains in the official archive layout."""
