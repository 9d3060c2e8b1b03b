/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pair.h"

#define PATTERN	 0xa5 /* in memory that a call is to fill */
#define ROOM	 64   /* elements of every array */
#define MEM_SIZE 0x10000
#define HANDLES	 24

static struct {
	struct pair pair, idle, wire; /* one that runs, one that nobody dispatches, a network */
	struct {
		const char *kind;
		uint64_t handle;
	} handles[HANDLES];
	unsigned n;
	int device_end;	   /* of the display */
	uint64_t frames;   /* session of the network driver */
	uint64_t exported; /* device of the VDUSE handle */
} world;

static uint64_t keep(const char *kind, uint64_t handle)
{
	CHECK(handle && world.n < HANDLES, "no %s", kind);
	world.handles[world.n].kind = kind;
	world.handles[world.n++].handle = handle;
	return handle;
}

static uint64_t world_handle(const char *kind)
{
	for (unsigned i = 0; i < world.n; i++)
		if (!strcmp(world.handles[i].kind, kind))
			return world.handles[i].handle;
	CHECK(false, "the tests know no way to have a %s", kind);
	return 0;
}

static uint64_t new_net(void)
{
	void *dev = dyn_new("vh_netdev_opts"), *opts = dyn_new("vh_driver_opts");
	uint64_t device = 0, backend = 0, net = 0;

	dyn_set(dev, "vh_netdev_opts", "kind", (uint64_t)dyn_constant("VH_NETDEV_SINK"));
	CHECK(!VH(netdev_new, at(dev), (uint64_t)-1, at(&device)), "no network device");
	pair_open(&world.wire, device);
	pair_start(&world.wire);
	dyn_set(opts, "vh_driver_opts", "type", (uint64_t)dyn_constant("VH_TYPE_NET"));
	CHECK(!VH(master_backend, world.wire.master, at(&backend)), "no backend");
	CHECK(!VH(driver_new, at(opts), backend, 0, at(&world.frames)), "no session");
	CHECK(!VH(driver_start, world.frames) && !VH(net_new, 0, world.frames, at(&net)), "no network driver");
	free(dev), free(opts);
	return net;
}

static uint64_t new_vduse(void)
{
	char name[] = "sample";
	uint64_t v = 0;

	world.exported = new_device(NULL, NULL);
	CHECK(!VH(vduse_new, 0, at(name), world.exported, (uint64_t)-1, at(&v)), "no VDUSE device");
	return v;
}

void world_open(void)
{
	uint64_t backend = 0, driver = 0, blk = 0, snapshot = 0, dirty = 0, iotlb = 0, gpu = 0, postcopy = 0, mgmt = 0,
		 kern = 0, vdpa = 0, metrics = 0, reader = 0;
	uint64_t mem;
	int32_t page = -1;
	int sockets[2];

	memset(&world, 0, sizeof(world));
	pair_open(&world.pair, new_ram_disk(1 << 20));
	pair_start(&world.pair);
	pair_open(&world.idle, new_device(NULL, NULL));
	mem = keep("vh_mem", new_mem(MEM_SIZE));
	CHECK(!VH(mem_dup_snapshot, mem, at(&snapshot)), "no snapshot");
	keep("vh_snapshot", snapshot);
	keep("vh_queue", new_queue(mem, "VH_QUEUE_DEVICE"));
	keep("vh_device", new_device(NULL, NULL));
	keep("vh_slave", world.idle.slave);
	keep("vh_master", world.pair.master);
	CHECK(!VH(master_backend, world.pair.master, at(&backend)), "no backend");
	keep("vh_backend", backend);
	CHECK(!VH(dirty_new, UINT64_C(1) << 40, at(&dirty)), "no dirty log");
	keep("vh_dirty", dirty);
	CHECK(!VH(iotlb_new, 0, mem, at(&iotlb)), "no IOTLB");
	keep("vh_iotlb", iotlb);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "no sockets");
	CHECK(!VH(gpu_new_display, 0, sockets[0], at(&gpu)), "no display");
	keep("vh_gpu", gpu);
	close(sockets[0]);
	world.device_end = sockets[1];
	CHECK(!VH(driver_new, 0, backend, 0, at(&driver)) && !VH(driver_start, driver), "no driver");
	keep("vh_driver", driver);
	CHECK(!VH(blk_new, driver, at(&blk)), "no block driver");
	keep("vh_blk", blk);
	keep("vh_net", new_net());
	keep("vh_vduse", new_vduse());
	CHECK(!VH(master_postcopy_advise, world.pair.master, at(&postcopy)), "no userfaultfd");
	keep("vh_postcopy", postcopy);
	CHECK(!VH(vdpa_mgmt_new, 0, 0, (uint64_t)-1, at(&mgmt)), "no vDPA management");
	keep("vh_vdpa_mgmt", mgmt);
	CHECK(!VH(kern_open, at("/dev/fake/vhost-net"), 0, at(&kern)), "no device of the kernel's");
	keep("vh_kern", kern);
	CHECK(!VH(vdpa_open, at("/dev/fake/vhost-vdpa-0"), 0, at(&vdpa)), "no vDPA device");
	keep("vh_vdpa", vdpa);
	CHECK(!VH(metrics_new, 0, 0, at(&metrics)), "no page of metrics");
	keep("vh_metrics", metrics);
	CHECK(!VH(metrics_dup_fd, metrics, at(&page)) && !VH(metrics_reader_adopt, (uint64_t)page, at(&reader)),
	      "no reader");
	close(page);
	keep("vh_metrics_reader", reader);
}

void world_close(void)
{
	VH(vduse_free, world_handle("vh_vduse"));
	VH(device_free, world.exported);
	VH(net_free, world_handle("vh_net"));
	VH(driver_free, world.frames);
	VH(blk_free, world_handle("vh_blk"));
	VH(driver_free, world_handle("vh_driver"));
	VH(device_free, world_handle("vh_device"));
	VH(gpu_free, world_handle("vh_gpu"));
	VH(vdpa_mgmt_free, world_handle("vh_vdpa_mgmt"));
	VH(metrics_reader_free, world_handle("vh_metrics_reader"));
	VH(metrics_free, world_handle("vh_metrics"));
	VH(kern_free, world_handle("vh_kern"));
	VH(vdpa_free, world_handle("vh_vdpa"));
	close(world.device_end);
	VH(postcopy_free, world_handle("vh_postcopy"));
	VH(dirty_free, world_handle("vh_dirty"));
	VH(iotlb_free, world_handle("vh_iotlb"));
	VH(queue_free, world_handle("vh_queue"));
	VH(snapshot_free, world_handle("vh_snapshot"));
	VH(mem_free, world_handle("vh_mem"));
	pair_close(&world.idle);
	pair_close(&world.pair);
	pair_close(&world.wire);
}

bool is_context(const struct dyn_param *p)
{
	return p->type == T_PTR && !strcmp(p->name, "ctx");
}

bool is_handle(const struct dyn_param *p)
{
	return p->type == T_PTR && p->element == T_STRUCT && !dyn_struct(p->structure);
}

bool is_memory(const struct dyn_param *p)
{
	return p->type == T_PTR && !is_handle(p) && !is_context(p);
}

/* Values without which a call is wrong in itself: in "function.parameter" or in "struct.field". */
static const struct {
	const char *name, *constant;
	uint64_t value;
} good[] = {
	{"vh_queue_opts.role", "VH_QUEUE_DEVICE", 0},
	{"vh_queue_opts.num", NULL, 16},
	{"vh_queue_opts.driver", NULL, 0x1000},
	{"vh_queue_opts.device", NULL, 0x2000},
	{"vh_queue_open.kick_fd", NULL, (uint64_t)-1},
	{"vh_queue_open.call_fd", NULL, (uint64_t)-1},
	{"vh_device_opts.type", "VH_TYPE_BLK", 0},
	{"vh_blkdev_opts.kind", "VH_BLKDEV_NULL", 0},
	{"vh_blkdev_opts.capacity", NULL, 1 << 20},
	{"vh_blkdev_new.fd", NULL, (uint64_t)-1},
	{"vh_vduse_new.records", NULL, (uint64_t)-1},
	{"vh_msg.request", NULL, 1},
	{"vh_device_error.rc", NULL, (uint64_t)-5},
	{"vh_dirty_new.end", NULL, 4096},
	{"vh_dirty_open.len", NULL, 8},
	{"vh_dirty_mark.len", NULL, 1},
	{"vh_queue_mark.len", NULL, 1},
	{"vh_iotlb_translate.perm", "VH_MEM_READ", 0},
	{"vh_iotlb_translate.len", NULL, 1},
	{"vh_master_set_log_base.len", NULL, 8},
	{"vh_snapshot_translate.perm", "VH_MEM_READ", 0},
	{"vh_snapshot_translate.len", NULL, 1},
};

static uint64_t good_value(const char *owner, const char *name)
{
	char both[80];

	snprintf(both, sizeof(both), "%s.%s", owner, name);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!strcmp(good[i].name, both))
			return good[i].constant ? (uint64_t)dyn_constant(good[i].constant) : good[i].value;
	return 0;
}

static size_t element_size(const struct dyn_param *p)
{
	const struct dyn_struct *s = dyn_struct(p->structure);

	return s && p->element == T_STRUCT ? s->size : dyn_width(p->element);
}

/* A struct that goes in: good values, closures in ops. */
static void fill_struct(char *to, const struct dyn_struct *s)
{
	void *made = s->shape == S_OPS ? dyn_ops(s->name, "destroy") : dyn_new(s->name);

	for (unsigned f = 0; f < s->n_fields; f++) {
		const uint64_t value = good_value(s->name, s->fields[f].name);

		if (value)
			dyn_set(made, s->name, s->fields[f].name, value);
	}
	memcpy(to, made, s->size);
	free(made);
}

static void make_memory(struct sample *s, unsigned i, const struct dyn_param *p)
{
	const struct dyn_struct *structure = p->element == T_STRUCT ? dyn_struct(p->structure) : NULL;
	const size_t n = p->count[0] ? ROOM : p->element == T_I8 ? ROOM : 1;

	s->bytes[i] = n * element_size(p);
	s->args[i] = at(malloc(s->bytes[i]));
	memset(pointer(s->args[i]), p->flags & P_OUT ? PATTERN : 0, s->bytes[i]);
	if (p->element == T_I8 && p->flags & P_CONST)
		strcpy(pointer(s->args[i]), "unix:/nonexistent/vh.sock");
	else if (structure && p->flags & P_OUT && structure->shape != S_FROZEN)
		sample_set_size(s, i, structure->size);
	else if (structure && structure->shape != S_FROZEN)
		fill_struct(pointer(s->args[i]), structure);
}

/* A device belongs to one back-end: a call that would attach it has one of its own. */
static uint64_t handle_for(struct sample *s, const struct dyn_param *p)
{
	const struct dyn_param *last = &s->call->params[s->call->n_params - 1];

	if (strcmp(p->structure, "vh_device") || !(last->flags & P_OUT))
		return world_handle(p->structure);
	s->fresh_kind = p->structure;
	return s->fresh = new_device(NULL, NULL);
}

bool sample_counts(const struct dyn_call *call, const char *name)
{
	for (unsigned i = 0; i < call->n_params; i++)
		if (!strcmp(call->params[i].count, name))
			return true;
	return false;
}

bool sample_is_counted(const struct dyn_call *call, const struct dyn_param *p)
{
	for (unsigned i = 0; i < call->n_params; i++)
		if (!strcmp(call->params[i].name, p->count))
			return true;
	return false;
}

void sample_make(struct sample *s, struct dyn_call *call)
{
	memset(s, 0, sizeof(*s));
	s->call = call;
	for (unsigned i = 0; i < call->n_params; i++) {
		const struct dyn_param *p = &call->params[i];

		if (is_context(p))
			s->args[i] = at(&s->receiver);
		else if (is_handle(p))
			s->args[i] = handle_for(s, p);
		else if (is_memory(p))
			make_memory(s, i, p);
		else
			s->args[i] = sample_counts(call, p->name) ? 1 : good_value(call->name, p->name);
	}
}

int sample_ops(const struct dyn_call *call)
{
	for (unsigned i = 0; i < call->n_params; i++) {
		const struct dyn_struct *s = dyn_struct(call->params[i].structure);

		if (s && s->shape == S_OPS)
			return (int)i;
	}
	return -1;
}

/* Ops that a handle of the world was given are taken away again, before what ctx points to goes. */
static void take_ops_back(const struct sample *s)
{
	const int i = sample_ops(s->call);
	uint64_t args[DYN_MAX_PARAMS];

	if (i < 0 || s->call->params[s->call->n_params - 1].flags & P_OUT)
		return;
	memcpy(args, s->args, sizeof(args));
	args[i] = 0;
	dyn_invoke(s->call, args);
}

void sample_resize(struct sample *s, unsigned i, size_t bytes, int fill)
{
	char *grown = malloc(bytes);

	memset(grown, fill, bytes);
	memcpy(grown, pointer(s->args[i]), bytes < s->bytes[i] ? bytes : s->bytes[i]);
	free(pointer(s->args[i]));
	s->args[i] = at(grown);
	s->bytes[i] = bytes;
}

void sample_set_size(struct sample *s, unsigned i, uint32_t size)
{
	memcpy(pointer(s->args[i]), &size, sizeof(size));
}

void sample_other_failure(void)
{
	int32_t fd;

	CHECK(VH(mem_dup_fd, world_handle("vh_mem"), UINT32_MAX, at(&fd)) == SAMPLE_OTHER_CODE,
	      "there is a last region");
}

/* What a call says is what its documentation says that it can say. */
static void check_documented(const struct dyn_call *call, int64_t rc)
{
	const char *name = rc < 0 && rc > -4096 ? strerrorname_np((int)-rc) : "no errno value", *found;

	for (found = call->errors; name && (found = strstr(found, name)); found++) {
		const char after = found[strlen(name)];

		if ((found == call->errors || found[-1] == ' ') && (!after || after == ' '))
			return;
	}
	CHECK(false, "%s: %s (%lld) is not in its @errors", call->name, name ? name : "?", (long long)rc);
}

int64_t sample_call(struct sample *s)
{
	int64_t rc;

	for (unsigned i = 0; i < s->call->n_params; i++)
		if (is_memory(&s->call->params[i]) && s->args[i]) {
			free(s->before[i]);
			s->before[i] = malloc(s->bytes[i]);
			memcpy(s->before[i], pointer(s->args[i]), s->bytes[i]);
		}
	rc = dyn_invoke(s->call, s->args);
	if (dyn_says_errors(s->call) && rc < 0)
		check_documented(s->call, rc);
	return rc;
}

bool sample_untouched(const struct sample *s, unsigned i)
{
	return !s->before[i] || !s->args[i] || !memcmp(s->before[i], pointer(s->args[i]), s->bytes[i]);
}

/* An out-parameter that owns something and was written holds a handle or a file descriptor. */
static void give_back(const struct sample *s, unsigned i)
{
	const struct dyn_param *p = &s->call->params[i];
	char name[80];

	if (!(p->flags & P_OWNED) || !s->args[i] || sample_untouched(s, i))
		return;
	if (p->element == T_PTR) {
		snprintf(name, sizeof(name), "%s_free", p->structure);
		dyn_invoke(dyn_call(name), (const uint64_t[]){*(uint64_t *)pointer(s->args[i])});
	} else {
		close(*(int32_t *)pointer(s->args[i]));
	}
}

void sample_free(struct sample *s)
{
	take_ops_back(s);
	for (unsigned i = 0; i < s->call->n_params; i++)
		if (is_memory(&s->call->params[i])) {
			give_back(s, i);
			free(s->before[i]);
			free(pointer(s->args[i]));
		}
	if (s->fresh)
		VH(device_free, s->fresh);
}
