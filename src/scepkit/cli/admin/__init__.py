"""`scep admin …`: the operator's commands, on the server's machine, whether it runs or not.

Each group of commands has its own file; `commands` puts them together.
"""
