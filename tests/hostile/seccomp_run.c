/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * seccomp_run PROGRAM [ARG...]: the program under the reference profile for a back-end (docs/seccomp.md). A system call
 * that is not in the list ends the process. Needs nothing but the kernel's headers.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#else
#error "add the AUDIT_ARCH_ of this machine"
#endif

/* In the order of docs/seccomp.md; a test compares the two. Those of older machines are not everywhere. */
static const int allowed[] = {
	/* start and end of a program */
	SYS_execve,
	SYS_brk,
	SYS_mprotect,
	SYS_openat,
	SYS_pread64,
	SYS_set_tid_address,
	SYS_set_robust_list,
	SYS_rseq,
	SYS_prlimit64,
	SYS_getrandom,
	SYS_exit,
	SYS_exit_group,
#ifdef SYS_arch_prctl
	SYS_arch_prctl,
#endif
#ifdef SYS_access
	SYS_access,
#endif
#ifdef SYS_readlink
	SYS_readlink,
#endif
	/* memory */
	SYS_mmap,
	SYS_munmap,
	SYS_madvise,
	SYS_mremap,
	SYS_memfd_create,
	SYS_ftruncate,
	SYS_userfaultfd,
	/* files and fds */
	SYS_read,
	SYS_write,
	SYS_writev,
	SYS_close,
	SYS_fcntl,
	SYS_ioctl,
	SYS_lseek,
	SYS_fstat,
	SYS_newfstatat,
	SYS_statx,
	SYS_fstatfs,
	SYS_preadv,
	SYS_preadv2,
	SYS_pwritev,
	SYS_fdatasync,
	SYS_fallocate,
	SYS_io_uring_setup,
	SYS_io_uring_enter,
	/* sockets and waiting */
	SYS_socket,
	SYS_bind,
	SYS_listen,
	SYS_accept4,
	SYS_connect,
	SYS_getsockopt,
	SYS_getsockname,
	SYS_recvmsg,
	SYS_sendmsg,
	SYS_eventfd2,
	SYS_timerfd_create,
	SYS_timerfd_settime,
	SYS_epoll_create1,
	SYS_epoll_ctl,
	SYS_epoll_pwait,
	SYS_ppoll,
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
#ifdef SYS_poll
	SYS_poll,
#endif
	SYS_unlinkat,
	SYS_fchmodat,
#ifdef SYS_unlink
	SYS_unlink,
#endif
#ifdef SYS_chmod
	SYS_chmod,
#endif
#ifdef SYS_lstat
	SYS_lstat,
#endif
	/* signals, threads, time */
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigpending,
	SYS_rt_sigtimedwait,
	SYS_rt_sigreturn,
	SYS_restart_syscall,
	SYS_getpid,
	SYS_gettid,
	SYS_tgkill,
	SYS_futex,
	SYS_membarrier,
	SYS_clock_gettime,
};

#define LOAD(field)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
/* The next instruction if equal, else the one after it. */
#define IF_EQUAL(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)

static int confine(void)
{
	enum { N = sizeof(allowed) / sizeof(allowed[0]) };
	static struct sock_filter code[2 * N + 5];
	struct sock_fprog program = {.filter = code};
	unsigned short n = 0;

	code[n++] = (struct sock_filter)LOAD(arch);
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	code[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)LOAD(nr);
	for (int i = 0; i < N; i++) {
		code[n++] = (struct sock_filter)IF_EQUAL((unsigned)allowed[i]);
		code[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	program.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: seccomp_run PROGRAM [ARG...]\n");
		return 2;
	}
	if (confine()) {
		fprintf(stderr, "seccomp_run: %s\n", strerror(errno));
		return 2;
	}
	execv(argv[1], argv + 1);
	fprintf(stderr, "seccomp_run: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
