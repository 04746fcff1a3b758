"""Floor 0: what is known about prompts, masks, planes and scores without any model or viewer.

Only numpy, scipy and scikit-image may be imported here. scipy and scikit-image are imported as wholes, here and on the
floors above: their parts then load when they are first used, and nobody who opens the dock widget waits for them.
"""
