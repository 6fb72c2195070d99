"""The alternatives that a user would choose: each file reimplements the program that it names."""
