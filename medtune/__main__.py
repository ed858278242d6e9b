"""The command `medtune` as a module, for `torchrun -m medtune` and `accelerate launch -m medtune`."""

from medtune.cli.main import main

main()
