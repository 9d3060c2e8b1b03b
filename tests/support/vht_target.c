/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

const enum vht_kind vht_kinds[VHT_KINDS] = {VHT_FAKE, VHT_FAKE_SPLIT, VHT_USER, VHT_USER_SPLIT, VHT_USER_NO_SLOTS};

/* Short enough that the end of a test is not felt. */
#define LOOK_MS 20

static void must(int rc, const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	if (!rc)
		return;
	vh_error_get(&e);
	fprintf(stderr, "%s: %s: %s\n", what, vh_error_name(rc), e.text);
	abort();
}

static void *serve(void *arg)
{
	struct vht_target *t = arg;

	while (!__atomic_load_n(&t->ending, __ATOMIC_ACQUIRE))
		vh_slave_wait(t->slave, LOOK_MS);
	return NULL;
}

bool vht_kind_is_split(enum vht_kind kind)
{
	return kind == VHT_FAKE_SPLIT || kind == VHT_USER_SPLIT;
}

static void open_user(struct vht_target *t, struct vh_device *dev)
{
	const struct vh_slave_opts so = {.size = sizeof(so),
					 .more_features = VHI_BIT(VH_F_ACCESS_PLATFORM),
					 .mask_features = vht_kind_is_split(t->kind) ? VHI_BIT(VH_F_RING_PACKED) : 0};
	struct vh_master_opts mo = {.size = sizeof(mo), .timeout_ms = 5000};
	int fd;

	if (t->kind == VHT_USER_NO_SLOTS)
		mo.mask_protocol_features = ~(VHI_BIT(VH_PF_MQ) | VHI_BIT(VH_PF_REPLY_ACK) | VHI_BIT(VH_PF_CONFIG));
	must(vh_slave_new(&so, dev, NULL, NULL, &t->slave), "vh_slave_new");
	must(vh_master_new(&mo, NULL, NULL, &t->master), "vh_master_new");
	must(vh_master_socketpair(t->master, &fd), "vh_master_socketpair");
	must(vh_slave_adopt(t->slave, fd), "vh_slave_adopt");
	t->socket = fd;
	must(vh_master_backend(t->master, &t->backend), "vh_master_backend");
	must(pthread_create(&t->thread, NULL, serve, t), "pthread_create");
	t->attached = true;
}

void vht_target_open(struct vht_target *t, enum vht_kind kind, struct vh_device *dev)
{
	*t = (struct vht_target){.kind = kind, .socket = -1};
	if (kind <= VHT_FAKE_SPLIT) {
		t->fake = vht_fake_new(dev);
		if (vht_kind_is_split(kind))
			vht_fake_hide_features(t->fake, VHI_BIT(VH_F_RING_PACKED));
		t->backend = vht_fake_backend(t->fake);
	} else {
		open_user(t, dev);
	}
	vh_device_free(dev); /* goes with what it is attached to */
}

void vht_target_close(struct vht_target *t)
{
	__atomic_store_n(&t->ending, 1, __ATOMIC_RELEASE);
	if (t->attached)
		pthread_join(t->thread, NULL);
	vht_fake_free(t->fake);
	vh_master_free(t->master);
	vh_slave_free(t->slave);
	if (t->socket >= 0)
		close(t->socket);
}

void vht_target_kill(struct vht_target *t)
{
	if (t->fake)
		vht_fake_die(t->fake);
	else
		shutdown(t->socket, SHUT_RDWR);
}
