"""The `synth` command: one file a command, each with `register(app)`; heavy imports stay inside the commands."""
