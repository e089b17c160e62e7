"""Deep methods that play against a domain discriminator or a second classifier."""
