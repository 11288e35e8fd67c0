"""The proof that the kit finds bugs: mistakes planted in the product, one at a time, each found."""
