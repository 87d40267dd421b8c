"""k6 load beside the workload: a k6 script run with the run's seed and links, its thresholds as
verdicts, its requests as samples on the run's clock.

`script` is what an experiment declares, `entry` what k6 is given to run, `command` how, `run` the
process; `exits` knows k6's exit codes and log, `summary` and `samples` what it leaves behind.
"""

from harness.load.part import K6_PART
from harness.load.run import LoadRun, Tools
from harness.load.samples import read_samples
from harness.load.script import K6, k6

__all__ = [
    "K6",
    "K6_PART",
    "LoadRun",
    "Tools",
    "k6",
    "read_samples",
]
