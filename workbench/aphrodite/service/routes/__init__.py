"""Routes that are nobody else's shape, or shared by all."""
