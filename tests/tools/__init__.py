"""Real parts that tests start: servers, proxies."""
