"""Clusters of two domains where no label is seen: a representation shared by matched moments or transport, and k-means.

The number of clusters is that of the classes, which the task says; labels of neither side are seen.
"""
