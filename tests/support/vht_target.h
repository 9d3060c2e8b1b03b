/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Something to drive, for tests that are written once: the in-process fake, and a vhost-user back-end in a thread of its
 * own behind a socket, with and without memory slots.
 */
#ifndef VHT_TARGET_H
#define VHT_TARGET_H

#include <pthread.h>

#include "vht_fake.h"

enum vht_kind { VHT_FAKE, VHT_USER, VHT_USER_NO_SLOTS, VHT_KINDS };

struct vht_target {
	enum vht_kind kind;
	struct vh_backend *backend;
	struct vht_fake *fake; /* VHT_FAKE */
	struct vh_master *master;
	struct vh_slave *slave;
	pthread_t thread;
	int ending;    /* atomic */
	int socket;    /* duplicate of the slave's end */
	bool attached; /* there is a thread */
};

/* Takes the device over. */
void vht_target_open(struct vht_target *t, enum vht_kind kind, struct vh_device *dev);
void vht_target_close(struct vht_target *t);
/* The other end is gone, now. */
void vht_target_kill(struct vht_target *t);

extern const enum vht_kind vht_kinds[VHT_KINDS];

/* cmocka: a test over each of them, and over one alone. */
#define VHT_OVER(test)                                                                                 \
	{#test "_over_fake", test, NULL, NULL, (void *)(uintptr_t)&vht_kinds[VHT_FAKE]},               \
		{#test "_over_vhost_user", test, NULL, NULL, (void *)(uintptr_t)&vht_kinds[VHT_USER]}, \
	{                                                                                              \
#test "_over_vhost_user_without_slots", test, NULL, NULL,                              \
			(void *)(uintptr_t)&vht_kinds[VHT_USER_NO_SLOTS]                               \
	}
#define VHT_FAKE_ONLY(test)                                                      \
	{                                                                        \
#test, test, NULL, NULL, (void *)(uintptr_t)&vht_kinds[VHT_FAKE] \
	}

#define VHT_USER_ONLY(test)                                                      \
	{                                                                        \
#test, test, NULL, NULL, (void *)(uintptr_t)&vht_kinds[VHT_USER] \
	}

/* Run a group; VHT_FILTER in the environment picks tests by a pattern. */
#define vht_run(tests) (cmocka_set_test_filter(getenv("VHT_FILTER")), cmocka_run_group_tests((tests), NULL, NULL))

#endif
