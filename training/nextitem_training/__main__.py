"""The command as a module, for torchrun: `torchrun --nproc-per-node 2 -m nextitem_training --data …`."""

import sys

from nextitem_training.cli import main

sys.exit(main())
