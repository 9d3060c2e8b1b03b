/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl io blk: read, write and verify. One engine moves a range in order, several chunks at a time. */
#include "vhctl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (128u * 1024)
#define DEPTH 8u

struct range {
	uint64_t offset, size, seed;
	bool has_size, has_seed;
};

struct chunk {
	uint64_t offset, addr;
	uint32_t len;
	bool done;
	int32_t rc;
};

struct mover {
	struct target *t;
	uint32_t op;
	/* Fill before a write, look after a read, in order of offsets. 0 or an exit code. */
	int (*data)(struct mover *m, uint64_t offset, void *buf, uint32_t len);
	struct range range;
	FILE *file; /* input or output, NULL = none */
	struct sha256 sum;
	bool check;
	const char *label; /* of the progress bar, NULL = none */
	uint64_t drawn_ns;
	uint32_t step; /* bytes of a request */
	struct chunk chunks[DEPTH];
	uint64_t head, tail; /* free-running: [head, tail) is on its way */
	bool full;	     /* the ring took no more: wait before the next */
	uint64_t filled;     /* bytes of the range that were put into chunks */
};

static void progress(struct mover *m, uint64_t done, bool end)
{
	uint64_t now = now_ns();
	unsigned filled;

	if (!m->label || (!end && now - m->drawn_ns < 100000000))
		return;
	m->drawn_ns = now;
	filled = m->range.size ? (unsigned)(done * 40 / m->range.size) : 40;
	fprintf(stderr, "\r%-7s [%.*s%*s] %3u%%%s", m->label, (int)filled, "########################################",
		(int)(40 - filled), "", m->range.size ? (unsigned)(done * 100 / m->range.size) : 100, end ? "\n" : "");
}

static int start_chunk(struct mover *m, uint64_t at)
{
	struct chunk *c = &m->chunks[m->tail % DEPTH];
	struct vh_blk_io io = {.op = m->op, .user = m->tail % DEPTH};
	uint64_t left = m->range.size - at;
	int32_t n;
	int rc;

	c->offset = m->range.offset + at;
	c->len = left < m->step ? (uint32_t)left : m->step;
	c->done = false;
	if (m->op == VH_BLK_WRITE && at == m->filled) {
		m->filled += c->len;
		rc = m->data(m, c->offset, (void *)(uintptr_t)c->addr, c->len);
		if (rc)
			return rc;
	}
	io.offset = c->offset;
	io.addr = c->addr;
	io.len = c->len;
	n = vh_blk_submit(m->t->blk, 0, &io, 1);
	if (n < 0)
		return say_vh(n, m->t->name);
	if (!n && m->tail == m->head)
		return say(EXIT_WRONG, "%s: the queue takes no request, and none is on its way", m->t->name);
	m->tail += (uint64_t)n;
	m->full = !n;
	return 0;
}

static int collect(struct mover *m)
{
	struct vh_blk_done done[DEPTH];
	int32_t n = vh_blk_reap(m->t->blk, 0, done, DEPTH);

	if (!n)
		return target_wait(m->t);
	if (n < 0)
		return say_vh(n, m->t->name);
	for (int32_t i = 0; i < n; i++) {
		m->chunks[done[i].user].done = true;
		m->chunks[done[i].user].rc = done[i].rc;
	}
	return 0;
}

static const char *op_name(uint32_t op)
{
	return op == VH_BLK_READ ? "read" : op == VH_BLK_WRITE ? "write" : "flush";
}

/* 0 or an exit code. */
static int move(struct mover *m)
{
	uint64_t next = 0, finished = 0;
	int rc = 0;

	for (unsigned i = 0; i < DEPTH && !m->chunks[i].addr; i++) {
		int32_t e = vh_driver_alloc(m->t->driver, CHUNK, &m->chunks[i].addr);

		if (e)
			return say_vh(e, m->t->name);
	}
	m->step = m->t->info.max_bytes < CHUNK ? m->t->info.max_bytes : CHUNK;
	m->head = m->tail = m->filled = 0;
	m->full = false;
	while (!rc && finished < m->range.size) {
		struct chunk *c = &m->chunks[m->head % DEPTH];

		if (next < m->range.size && m->tail - m->head < DEPTH && !m->full) {
			rc = start_chunk(m, next);
			if (!rc && !m->full)
				next += m->chunks[(m->tail - 1) % DEPTH].len;
			continue;
		}
		if (!c->done) {
			rc = collect(m);
			continue;
		}
		if (c->rc)
			return say(EXIT_WRONG, "%s: %s of %u bytes at %" PRIu64 " failed: %s", m->t->name,
				   op_name(m->op), c->len, c->offset, vh_error_name(c->rc));
		if (m->op == VH_BLK_READ)
			rc = m->data(m, c->offset, (void *)(uintptr_t)c->addr, c->len);
		finished += c->len;
		m->full = false;
		m->head++;
		progress(m, finished, finished == m->range.size);
	}
	return rc;
}

static int flush(struct target *t)
{
	struct vh_blk_io io = {.op = VH_BLK_FLUSH};
	struct vh_blk_done done;
	int32_t n;
	int rc = 0;

	if (!t->info.write_cache)
		return 0;
	n = vh_blk_submit(t->blk, 0, &io, 1);
	while (n >= 0 && !rc) {
		n = vh_blk_reap(t->blk, 0, &done, 1);
		if (n == 1)
			return done.rc ? say(EXIT_WRONG, "%s: flush failed: %s", t->name, vh_error_name(done.rc)) : 0;
		if (n == 0)
			rc = target_wait(t);
	}
	return rc ? rc : say_vh(n, t->name);
}

static int from_seed(struct mover *m, uint64_t offset, void *buf, uint32_t len)
{
	pattern_fill(buf, m->range.seed, offset, len);
	sha256_add(&m->sum, buf, len);
	return 0;
}

static int from_file(struct mover *m, uint64_t offset, void *buf, uint32_t len)
{
	(void)offset;
	if (fread(buf, 1, len, m->file) != len)
		return say(EXIT_WRONG, "the input ended, or failed, before --size bytes");
	sha256_add(&m->sum, buf, len);
	return 0;
}

static int take(struct mover *m, uint64_t offset, void *buf, uint32_t len)
{
	if (m->check) {
		size_t at = pattern_check(buf, m->range.seed, offset, len);

		if (at < len)
			return say(EXIT_WRONG, "%s: wrong data at byte %" PRIu64 " (seed %" PRIu64 ")", m->t->name,
				   offset + at, m->range.seed);
	}
	sha256_add(&m->sum, buf, len);
	if (m->file && fwrite(buf, 1, len, m->file) != len)
		return say(EXIT_WRONG, "can't write the output: %s", strerror(errno));
	return 0;
}

static int check_range(const struct target *t, struct range *r, bool writes)
{
	uint32_t unit = t->info.block_size ? t->info.block_size : VH_BLK_SECTOR;

	if (!r->has_size)
		r->size = r->offset < t->info.capacity ? t->info.capacity - r->offset : 0;
	if (r->offset % unit || r->size % unit)
		return usage("--offset and --size are multiples of the block size, %u", unit);
	if (r->offset > t->info.capacity || r->size > t->info.capacity - r->offset)
		return usage("the range ends beyond the device, which has %" PRIu64 " bytes", t->info.capacity);
	if (writes && t->info.read_only)
		return say(EXIT_WRONG, "%s: the device is read-only", t->name);
	return 0;
}

static void report(const struct mover *m, const char *verb, bool as_json, uint64_t ns, bool seeded)
{
	char sum[65];
	struct sha256 s = m->sum;
	struct json j;

	sha256_text(&s, sum);
	if (!as_json) {
		printf("%s %" PRIu64 " bytes at %" PRIu64 ", ", verb, m->range.size, m->range.offset);
		if (seeded)
			printf("seed %" PRIu64 ", ", m->range.seed);
		printf("sha256 %s, %.1f MiB/s\n", sum, (double)m->range.size / 1048576.0 / ((double)ns / 1e9));
		return;
	}
	json_begin(&j, stdout);
	json_text(&j, "target", m->t->name);
	json_text(&j, "op", verb);
	json_bool(&j, "ok", true);
	json_u64(&j, "offset", m->range.offset);
	json_u64(&j, "size", m->range.size);
	if (seeded)
		json_u64(&j, "seed", m->range.seed);
	json_text(&j, "sha256", sum);
	json_real(&j, "seconds", (double)ns / 1e9);
	json_u64(&j, "capacity_bytes", m->t->info.capacity);
	json_end(&j);
}

struct io_opts {
	struct range range;
	const char *file;
	bool reconnect;
	uint64_t timeout, queue_size;
	bool packed, json, has_queue_size;
};

static void warn_destroys(const struct mover *m)
{
	say(0, "note: this overwrites %" PRIu64 " bytes at %" PRIu64 " of %s", m->range.size, m->range.offset,
	    m->t->name);
}

static int do_read(struct mover *m, const struct io_opts *o)
{
	m->op = VH_BLK_READ;
	m->data = take;
	m->check = o->range.has_seed;
	return move(m);
}

static int do_write(struct mover *m, const struct io_opts *o)
{
	int rc;

	(void)o;
	m->op = VH_BLK_WRITE;
	m->data = m->file ? from_file : from_seed;
	rc = move(m);
	return rc ? rc : flush(m->t);
}

static int do_verify(struct mover *m, const struct io_opts *o)
{
	const char *label = m->label;
	int rc;

	warn_destroys(m);
	m->label = label ? "write" : NULL;
	rc = do_write(m, o);
	if (rc)
		return rc;
	sha256_start(&m->sum);
	m->label = label ? "read" : NULL;
	m->op = VH_BLK_READ;
	m->data = take;
	m->check = true;
	return move(m);
}

static const struct verb {
	const char *name, *past;
	int (*run)(struct mover *m, const struct io_opts *o);
	const char *file_option, *file_mode;
	bool writes;
} verbs[] = {
	{"read", "read", do_read, "output", "we", false},
	{"write", "wrote", do_write, "input", "re", true},
	{"verify", "verified", do_verify, NULL, NULL, true},
};

static int run_verb(const struct verb *v, struct target *t, const struct io_opts *o)
{
	struct mover m = {.t = t, .range = o->range};
	bool to_stdout = o->file && !strcmp(o->file, "-");
	uint64_t start;
	int rc = check_range(t, &m.range, v->writes);

	if (rc)
		return rc;
	if (o->file) {
		m.file = to_stdout ? (v->writes ? stdin : stdout) : fopen(o->file, v->file_mode);
		if (!m.file)
			return usage("--%s %s: %s", v->file_option, o->file, strerror(errno));
	}
	if (!m.range.has_seed)
		m.range.seed = random_seed();
	m.label = !o->json && isatty(2) ? v->name : NULL;
	sha256_start(&m.sum);
	start = now_ns();
	rc = v->run(&m, o);
	if (m.file && !to_stdout && fclose(m.file) && !rc)
		rc = say(EXIT_WRONG, "--%s %s: %s", v->file_option, o->file, strerror(errno));
	if (!rc && !(to_stdout && !v->writes))
		report(&m, v->past, o->json, now_ns() - start, m.check || (v->writes && !m.file));
	return rc;
}

int cmd_io(int argc, char **argv)
{
	struct io_opts o = {.timeout = 10000, .queue_size = 128, .packed = true};
	const struct opt opts[] = {
		{"offset", OPT_SIZE, &o.range.offset, 0, NULL},
		{"size", OPT_SIZE, &o.range.size, 0, &o.range.has_size},
		{"seed", OPT_NUMBER, &o.range.seed, 0, &o.range.has_seed},
		{"timeout", OPT_NUMBER, &o.timeout, 3600000, NULL},
		{"queue-size", OPT_NUMBER, &o.queue_size, VH_QUEUE_MAX_SIZE, &o.has_queue_size},
		{"packed", OPT_SWITCH, &o.packed, 0, NULL},
		{"reconnect", OPT_FLAG, &o.reconnect, 0, NULL},
		{"json", OPT_FLAG, &o.json, 0, NULL},
		{"", OPT_TEXT, &o.file, 0, NULL}, /* --input or --output, by verb */
	};
	const size_t n_opts = sizeof(opts) / sizeof(opts[0]);
	struct opt mine[sizeof(opts) / sizeof(opts[0])];
	const struct verb *v = NULL;
	struct target t = {0};
	const char *none[1];
	size_t n;
	int rc;

	if (argc < 3 || strcmp(argv[0], "blk"))
		return usage("io what? vhctl io blk PATH read|write|verify|bench");
	if (!strcmp(argv[2], "bench"))
		return io_bench(&t, argc, argv);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[2], verbs[i].name))
			v = &verbs[i];
	if (!v)
		return usage("io blk: '%s' is not read, write, verify or bench", argv[2]);
	memcpy(mine, opts, sizeof(opts));
	if (v->file_option)
		mine[n_opts - 1].name = v->file_option;
	rc = parse_options(argc - 3, argv + 3, mine, n_opts - !v->file_option, none, 0, &n);
	if (rc)
		return rc;
	rc = target_open(&t, argv[1],
			 &(struct target_opts){.queues = 1,
					       .queue_size = (uint32_t)o.queue_size,
					       .queue_size_fixed = o.has_queue_size,
					       .packed = o.packed,
					       .reconnect = o.reconnect,
					       .timeout_ms = (uint32_t)o.timeout});
	if (!rc)
		rc = run_verb(v, &t, &o);
	target_close(&t);
	return rc;
}
