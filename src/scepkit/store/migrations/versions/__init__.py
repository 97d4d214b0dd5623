"""One file for each change of the tables; never changed once released."""
