"""`python -m synth` is the `synth` command."""

from __future__ import annotations

from synth.cli.app import main

if __name__ == "__main__":
    main()
