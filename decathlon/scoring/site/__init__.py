"""A static site of leaderboards: a page per row and per domain, figures, JSON and a feed."""
