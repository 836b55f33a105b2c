"""One trial: loop, optimizer, schedule, evaluation, checkpoints."""
