"""The methods of the facade `Mockbank`, by whose side they are: the user's, the bank's, the adversary's."""
