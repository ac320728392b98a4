"""One prediction told on one page: what was said, by which version, why that one was live, and what came true."""
