"""`python -m serene` is the command `serene`."""

from serene.cli import main

if __name__ == "__main__":
    main()
