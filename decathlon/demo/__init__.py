"""The whole way on generated data: ten small domains in the official archive layout."""
