/* A command that waits for a signal, with as little memory as a process can have. */
#include <linux/prctl.h>
#include <signal.h>

#include "bare.h"

void _start(void)
{
	/* Thousands of these must not outlive benchmarks that are killed. */
	system_call(PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	for (;;)
		WAIT_FOR_A_SIGNAL();
}
