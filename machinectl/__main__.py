"""`python -m machinectl`."""

from __future__ import annotations

import sys

from machinectl.cli.main import main

sys.exit(main())
