"""Where images come from: archives, folders, downloads, labels."""
