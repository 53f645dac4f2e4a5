"""An interactive job-control prompt, and scripts: `/bin/sh` runs the commands, amper has the jobs."""
