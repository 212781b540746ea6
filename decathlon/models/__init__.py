"""Networks: their parts, their weights in and out."""
