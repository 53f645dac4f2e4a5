"""Jobs under a shim: contained, whatever they fork, and ended with their owner.

    the manager's process: keepers.py starts a keeper and hands jobs over; delivery.py is the way of one,
     |                     command.py hears of it, and witness.py does if all others were killed
     |  a socket (wire.py), and a channel of its own for each job
    the keeper: keeper.py forks shims, orphans.py goes on where one was killed
     |-- a shim for each job: shim.py starts the command and stays until nothing of it is left
          |-- the job's leader, in a session of its own, and all that it starts

Keeper and shim share charge.py (a job as its supervisor sees it), descent.py (signals for all
descendants), wakeup.py (their own signals) and privileges.py (what they are to the kernel).
"""
