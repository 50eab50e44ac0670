"""A trainer of one's own writes runs: `milstore.open("data").record(…)`."""
