"""What scripts/test-container proves of the image and docker-compose.yml, one module for each part."""
