"""Text and image encoders and their packaged weights.

To add one, write one file beside these and one test. The file holds a class that derives from `text.TextEncoder` or
`image.ImageEncoder` and is made from a config and a device: it says how inputs become tensors, what module maps them to
vectors, and what decides its output (its fingerprint). A row in the table of `loading.py` gives it its name. Where its
last layers can be adapted, it says by `split` how it comes apart.
"""
