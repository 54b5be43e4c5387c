"""Proofs by torture: kill, stop, freeze, crowd, delay and jump a real engine on a real file, then look at what is left.

``python -m tests.torture --help`` says how to run it. One parent process plays Lean, the user and the application
(`lean`, `world`, `drive`); the engine runs in children (`child`), which a warm process forks (`zygote`), so that a
hundred kills cost seconds. After every round `invariants` holds the file against what the parent knows.
"""
