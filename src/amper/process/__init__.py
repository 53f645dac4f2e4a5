"""The only code that touches the kernel's processes. It has never heard of jobs."""

import sys

if sys.platform != "linux":
    raise ImportError(
        f"amper needs Linux, with its pidfds, epoll and /proc: this is {sys.platform}"
    )
