"""`python -m medtune`: the same as the command `medtune`, for `torchrun -m medtune` and `accelerate launch -m medtune`."""

from medtune.cli.main import main

main()
