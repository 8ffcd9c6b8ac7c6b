"""What the tests with a server share: the shops, requests and what is right, servers and their processes."""
