"""The certificates of many devices, got by one who provisions them.

`devices` reads who they are, `enroller` gets their certificates, `results` and `bundles` have the
files with what came of it, and `availability` is the patience with a server that is away.
"""
