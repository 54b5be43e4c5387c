"""The bank data that follows from a seed: accounts, people, companies, money, and Lean's shapes of it."""
