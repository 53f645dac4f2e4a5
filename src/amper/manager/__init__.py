"""The one object that an embedder holds, and the runners behind it."""

from amper.manager.coroutines import CurrentJob, current_job
from amper.manager.manager import JobManager

__all__ = ["CurrentJob", "JobManager", "current_job"]
