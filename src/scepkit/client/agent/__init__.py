"""The agent: renews the certificates of many directories, and puts them to use, for years.

agent          one pass after the other
visit          one directory: look, renew, deploy
deployment     the hooks' part of that
schedule       when a renewal is due, and how long to wait after a failure
state          what is kept of it: agent.json in the directory
settings       what is set: agent.toml in the directory, before what is set for all
hooks          the running of a command
places         which directories
events         what happens
"""
