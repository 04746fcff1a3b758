"""Floor 0: what is known about prompts, masks, planes and scores without any model or viewer.

Only numpy, scipy and scikit-image may be imported here.
"""
