/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Signals while a driver session starts and stops. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define MIB	 (UINT64_C(1) << 20)
#define KIND	 (*(const enum vht_kind *)*state)

static void on_alarm(int sig)
{
	(void)sig;
}

/* 0: never. */
static void alarm_in_us(suseconds_t us)
{
	const struct itimerval it = {.it_value = {.tv_usec = us}};

	ok(setitimer(ITIMER_REAL, &it, NULL));
}

static vh_rc stop(struct vh_driver *d)
{
	return vh_driver_stop(d, 0, 0);
}

/* The call again until no signal ends it; how often one did. */
static unsigned until_done(struct vht_session *s, vh_rc (*call)(struct vh_driver *))
{
	unsigned n = 0;
	int rc;

	while ((rc = call(s->d)) == -EINTR) {
		n++;
		while (vh_master_resume(s->t.master) == -EINTR)
			;
	}
	ok(rc);
	return n;
}

/* The alarm comes a little later each time, so that it hits every message of the sequence. */
static void what_a_signal_ended_can_be_called_again(void **state)
{
	const struct sigaction sa = {.sa_handler = on_alarm};
	struct vht_session s;
	unsigned starts = 0, stops = 0;
	sigset_t set;

	ok(sigaction(SIGALRM, &sa, NULL));
	/* Blocked in the device's thread, which is made with our mask. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	ok(pthread_sigmask(SIG_BLOCK, &set, NULL));
	vht_session_ram(&s, KIND, MIB, 0, 1);
	ok(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
	vht_session_begin(&s, NULL, MIB);
	vht_session_write(&s, 0, 0, 4096, 7);
	for (suseconds_t us = 1; us < 600; us++) {
		alarm_in_us(us);
		stops += until_done(&s, stop);
		alarm_in_us(us);
		starts += until_done(&s, vh_driver_start);
		alarm_in_us(0);
		vht_session_verify(&s, 0, 0, 4096, 7);
	}
	assert_true(starts && stops);
	vht_session_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_USER_ONLY(what_a_signal_ended_can_be_called_again),
	};

	return vht_run(tests);
}
