"""Files and folders as a stream (kind `tree`): how they are told, read and written."""
