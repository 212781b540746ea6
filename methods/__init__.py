"""The methods of the Visual Decathlon's literature, one file each.

They are found through the entry points of the group ``decathlon.methods``, as a
stranger's method is.
"""
