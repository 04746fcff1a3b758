"""``python -m napari_segany`` is ``napari-segany``."""

import sys

from napari_segany.cli import main

sys.exit(main())
