"""Published experiments, each of them one command: what was published, what comes out here, and how long it takes.

``fastrbm reproduce NAME`` of the command line is `run`. Each experiment is a module here with a function
``run(settings, report)``; it chooses everything on validation data and looks at test data once.
"""

from ._registry import EXPERIMENTS, run, run_all
from ._report import Report, Row
from ._settings import Settings

__all__ = ["EXPERIMENTS", "Report", "Row", "Settings", "run", "run_all"]
