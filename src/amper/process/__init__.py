"""The only code that touches the kernel's processes. It has never heard of jobs."""
