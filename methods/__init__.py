"""The methods of the literature, one file or folder each; installed as ``decathlon_methods``.

They are found through the entry points of the group ``decathlon.methods``, as a
stranger's method is.
"""
