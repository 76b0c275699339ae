"""The API server: requests, credentials, leader election."""
