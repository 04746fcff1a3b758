"""Floor 0: prompts, masks, planes and scores, without any model or viewer.

Only numpy, scipy and scikit-image may be imported here. scipy and scikit-image are imported as whole packages, here and
on the floors above: their submodules are then loaded on first use, so the dock widget opens without waiting for them.
"""
