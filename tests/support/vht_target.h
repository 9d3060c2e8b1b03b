/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Something to drive, for tests that are written once: the in-process fake, and a vhost-user back-end in a thread of its
 * own behind a socket, with and without memory slots; each with packed rings, and some with split ones too.
 */
#ifndef VHT_TARGET_H
#define VHT_TARGET_H

#include <pthread.h>

#include "vht_fake.h"

enum vht_kind { VHT_FAKE, VHT_FAKE_SPLIT, VHT_USER, VHT_USER_SPLIT, VHT_USER_NO_SLOTS, VHT_KINDS };

struct vht_target {
	enum vht_kind kind;
	struct vh_backend *backend;
	struct vht_fake *fake; /* VHT_FAKE, VHT_FAKE_SPLIT */
	struct vh_master *master;
	struct vh_slave *slave;
	pthread_t thread;
	int ending;    /* atomic */
	int socket;    /* duplicate of the slave's end */
	bool attached; /* there is a thread */
};

bool vht_kind_is_split(enum vht_kind kind);
/* Takes the device over. */
void vht_target_open(struct vht_target *t, enum vht_kind kind, struct vh_device *dev);
void vht_target_close(struct vht_target *t);
/* The other end is gone, now. */
void vht_target_kill(struct vht_target *t);

extern const enum vht_kind vht_kinds[VHT_KINDS];

/* cmocka: a test over each of them, and over some. */
#define VHT_OVER_ONE(test, kind, name)                                            \
	{                                                                         \
#test name, test, NULL, NULL, (void *)(uintptr_t)&vht_kinds[kind] \
	}
#define VHT_FAKE_ONLY(test) \
	VHT_OVER_ONE(test, VHT_FAKE, "_over_fake"), VHT_OVER_ONE(test, VHT_FAKE_SPLIT, "_over_fake_split")
#define VHT_USER_ONLY(test) \
	VHT_OVER_ONE(test, VHT_USER, "_over_vhost_user"), VHT_OVER_ONE(test, VHT_USER_SPLIT, "_over_vhost_user_split")
#define VHT_OVER(test)                            \
	VHT_FAKE_ONLY(test), VHT_USER_ONLY(test), \
		VHT_OVER_ONE(test, VHT_USER_NO_SLOTS, "_over_vhost_user_without_slots")

/* Run a group; VHT_FILTER in the environment picks tests by a pattern. */
#define vht_run(tests) (cmocka_set_test_filter(getenv("VHT_FILTER")), cmocka_run_group_tests((tests), NULL, NULL))

#endif
