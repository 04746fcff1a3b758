"""The errors that reach a user: one clear line each, shown once, by the widget or the command line."""


class SeganyError(Exception):
    """Base of every error whose message is written for the user."""


class InputError(SeganyError):
    """An image, label image, prompt or option cannot be used as given."""


class ModelError(SeganyError):
    """A model is unknown, cannot be loaded, or does not support what is requested."""


class Cancelled(SeganyError):
    """The user stopped a running job; nothing was changed."""
