"""How fast amper is, against C programs that do as little as possible, and against its peers."""
