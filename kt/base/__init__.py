"""What all rooms use: the console, files, the cache, processes, numbers in words. It loads nothing heavy."""
