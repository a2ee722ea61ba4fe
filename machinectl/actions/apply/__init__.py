"""plan, apply, drift: from an inventory to machines that are as it says."""
