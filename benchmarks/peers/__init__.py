"""What a user would run instead: each file does what the program that it names does, written anew."""
