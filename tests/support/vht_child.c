/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_child.h"
#include "vht_paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void vht_child_init(struct vht_child *c, uint64_t bytes, bool packed)
{
	int fd;

	memset(c, 0, sizeof(*c));
	c->packed = packed;
	strcpy(c->dir, "/tmp/vh-child-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	snprintf(c->socket, sizeof(c->socket), "%s/socket", c->dir);
	snprintf(c->disk, sizeof(c->disk), "%s/disk", c->dir);
	fd = open(c->disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

/* It says so when it listens: the first line. */
static void wait_line(int fd)
{
	char c = 0;

	while (c != '\n')
		assert_int_equal(read(fd, &c, 1), 1);
}

void vht_child_start(struct vht_child *c)
{
	char queues[16], vhctl[512];
	int said[2];

	snprintf(queues, sizeof(queues), "%u", c->queues ? c->queues : 1);
	snprintf(vhctl, sizeof(vhctl), "%s/vhctl", vht_binary_dir);

	assert_int_equal(c->pid, 0);
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (!c->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(said[1], STDERR_FILENO);
		execl(vhctl, "vhctl", "serve", "blk", c->connects ? "--connect" : "--socket", c->socket, "--file",
		      c->disk, "--packed", c->packed ? "on" : "off", "--queues", queues, (char *)NULL);
		_exit(127);
	}
	close(said[1]);
	wait_line(said[0]);
	close(said[0]);
}

void vht_child_kill(struct vht_child *c)
{
	assert_int_equal(kill(c->pid, SIGKILL), 0);
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
	c->pid = 0;
}

void vht_child_end(struct vht_child *c)
{
	if (c->pid)
		vht_child_kill(c);
	unlink(c->socket);
	unlink(c->disk);
	rmdir(c->dir);
}
