"""`python -m ttfs_analog` is the same as `ttfs-analog`."""

import sys

from ttfs_analog.cli.app import main

sys.exit(main())
