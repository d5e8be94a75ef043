"""`python -m windlass.cli`, where the console script isn't on the PATH."""

from windlass.cli import main

main()
