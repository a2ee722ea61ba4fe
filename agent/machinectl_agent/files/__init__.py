"""Moving bytes between machines: streams of any kind (carry), and files and folders (tree)."""
