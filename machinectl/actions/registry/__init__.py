"""Registries on machines: deployed, asked, cleaned, taken away; and whether the ones that machines use answer."""
