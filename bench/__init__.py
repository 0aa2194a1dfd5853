"""The bench: how quick this build is on this machine, beside what others do with the same bytes in the same call.

Nothing here is part of the program, and no test asserts a time: figures are for people, ratios for comparing.
"""
