/* usage: writer MEGABYTES BLOCK
 * Writes that much to standard output, in blocks of BLOCK bytes, as fast as it is read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	long left = atol(argv[1]) << 20, block = atol(argv[2]);
	char *data = malloc(block);
	memset(data, 'x', block);
	while (left > 0) {
		ssize_t count = write(1, data, left < block ? left : block);
		if (count < 0)
			return 1;
		left -= count;
	}
	return 0;
}
