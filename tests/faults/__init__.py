"""What a wire can do to a chat model: a server of faults, and who holds them."""
