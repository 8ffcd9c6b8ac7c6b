"""What training's tests share."""
