"""What the user wrote: Ansible's inventories, and what they want of machines."""
