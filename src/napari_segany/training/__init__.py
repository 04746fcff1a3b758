"""Wing: how the weights that ship are made. Imports models and core; only the command line and one widget import it."""
