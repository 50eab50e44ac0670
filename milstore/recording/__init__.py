"""Recording runs of other trainers: `milstore.open("data").record(…)`."""
