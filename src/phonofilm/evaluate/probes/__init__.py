"""Every metric, defined once: which clips it is about, and what it takes from one of them."""
