"""The command line: one module per command. Torch, Ray and MLflow are imported when a command runs, not for help."""
