/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the commands of vhctl share. */
#ifndef VHCTL_H
#define VHCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vh/vh.h"

/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

/* cli.c: one line on stderr, "vhctl: ...". Both return what they are given or EXIT_USAGE, for `return say(...)`. */
__attribute__((format(printf, 2, 3))) int say(int exit_code, const char *fmt, ...);
__attribute__((format(printf, 1, 2))) int usage(const char *fmt, ...);
/* The library's last error behind a prefix; the exit code that fits it. */
int say_vh(int32_t rc, const char *what);

/*
 * Options. A row takes "--name VALUE" or "--name=VALUE", or stands alone when it sets a flag; a switch is on or off.
 * Parsing stops at nothing: words without dashes are collected.
 */
enum opt_kind { OPT_FLAG, OPT_SWITCH, OPT_TEXT, OPT_SIZE, OPT_NUMBER };
struct opt {
	const char *name;
	enum opt_kind kind;
	void *to;     /* bool *, const char **, uint64_t * */
	uint64_t max; /* OPT_NUMBER and OPT_SIZE: largest value, 0 = no limit */
	bool *seen;   /* nullable */
};
/* 0 or EXIT_USAGE. @words gets at most @max_words, *n_words how many. */
int parse_options(int argc, char **argv, const struct opt *opts, size_t n_opts, const char **words, size_t max_words,
		  size_t *n_words);
bool parse_mac(const char *text, uint8_t mac[6]);
bool parse_size(const char *text, uint64_t *out); /* 4096, 64K, 1M, 2G, 1T; binary units */

/* trace.c: VH_TRACE=PATH writes every message as a line of JSON ("-" = stderr). 0 or EXIT_USAGE. */
int trace_open(void);
const struct vh_trace_ops *tracer(void); /* NULL when off */
const struct vh_logger_ops *stderr_log(uint32_t level);

/*
 * external.c: the commands that are Python. @argv begins with the command. False when it is none of them; else it does not
 * come back, or it could not be started and *exit_code is set.
 */
bool external(int argc, char **argv, int *exit_code);
void external_help(FILE *to);

/* json.c: a writer that minds the commas. */
struct json {
	FILE *to;
	unsigned depth;
	bool first[16];
};
void json_begin(struct json *j, FILE *to);
void json_end(struct json *j); /* newline */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_close(struct json *j, char bracket);
void json_text(struct json *j, const char *key, const char *value);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_real(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
void json_hex(struct json *j, const char *key, uint64_t value);

/* handover.c: serve --handover. */
int handover_listen(const char *path);			 /* an fd, -1 = it was said why not */
void handover_end(const char *path, int listener);	 /* what handover_listen() has made */
int handover_take(const char *path, struct vh_slave *s); /* 1 = taken over, 0 = nobody is there, -1 = it was said */
bool handover_give(int listener, struct vh_slave *s);	 /* true: the successor serves, this one is to end */

/* target.c: a target that is ready for block requests. */
struct target_opts {
	uint32_t queues;
	uint32_t queue_size;
	bool queue_size_fixed; /* the user's; else half of it is tried when the back-end refuses it */
	bool packed;	       /* rings, where the back-end has them */
	bool reconnect;	       /* when the back-end goes away */
	uint32_t timeout_ms;
	uint32_t poll_us; /* vh_driver_opts */
};
struct target {
	const char *name;
	struct vh_master *master; /* one of them */
	struct vh_vdpa *vdpa;
	struct vh_driver *driver;
	struct vh_blk *blk;
	struct vh_blk_info info;
	int32_t timeout_ms; /* for an answer, and for a request */
	bool silent;	    /* it let that time pass */
};
const char *vdpa_key(const char *name); /* what vh_vdpa_open() takes, NULL = it is no vDPA device */
bool is_device(const char *name);	/* a device file, or a vDPA device; else it is the address of a socket */
/* An exit code, EXIT_DONE when it is open; what went wrong was said. */
int target_connect(struct target *t, const char *name, const struct target_opts *opts); /* up to the socket */
int target_open(struct target *t, const char *name, const struct target_opts *opts);	/* up to running queues */
int target_wait(struct target *t);   /* until queue 0 has something to reap, or a signal came; 0, or an exit code */
int target_silent(struct target *t); /* says that the time is over */
void target_close(struct target *t);

/* pattern.c */
/* Position-dependent: the 8 bytes at offset o are splitmix64(seed + o / 8), little-endian. o and n: multiples of 8. */
void pattern_fill(void *buf, uint64_t seed, uint64_t offset, size_t n);
/* Offset in the buffer of the first wrong byte, n when there is none. */
size_t pattern_check(const void *buf, uint64_t seed, uint64_t offset, size_t n);
uint64_t random_seed(void);
struct sha256 {
	uint32_t h[8];
	uint64_t bytes;
	uint8_t block[64];
};
void sha256_start(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t n);
void sha256_text(struct sha256 *s, char out[65]);
uint64_t now_ns(void);

/* looked.c: who is looked at. */
struct looked {
	unsigned pid;
	char command[32];
	char address[512]; /* of its socket, "" = all of the process */
	struct vh_metrics_reader *reader;
};
int looked_at(const char *target, struct looked *out); /* an exit code, EXIT_DONE with a reader to be freed */
bool looked_for(const struct looked *l, const struct vh_metrics_row *connection); /* this one was meant */

/* metrics.c */
char *openmetrics_text(struct vh_metrics_reader *r); /* the caller frees; NULL = no */
/* serve --openmetrics: 0, or an exit code. wait_ms: for how long the port may still be in use. */
int metrics_begin(struct vh_metrics *m, const char *where, uint32_t wait_ms);
void metrics_say(const char *where); /* nullable */
void metrics_end(void);

/* serve.c, and a file for each kind of device that it can be. */
struct serve_device {
	uint64_t queues; /* net: pairs */
	uint64_t queue_size;
};
struct serve_kind {
	const char *name;
	const char *capabilities; /* what --print-capabilities says */
	uint32_t max_queues;
	const struct opt *opts; /* its own, beside those of all kinds; at most 16 */
	size_t n_opts;
	int (*open)(const struct serve_device *common, struct vh_device **dev); /* 0, or an exit code */
};
extern const struct serve_kind serve_blk, serve_net;

void serve_catch_signals(void);
bool serve_told_to_end(void);
void serve_print_event(const struct vh_event *e);

/* serve_vduse.c */
struct serve_vduse_opts {
	const char *name, *kind;
	const char *records; /* path, NULL = none */
	const char *openmetrics;
	bool metrics;
	uint32_t coalesce;
	bool packed, in_order, umem, verbose;
};
int serve_vduse(const struct serve_vduse_opts *o, struct vh_device *dev);

/* probe.c: what a device is asked for and how it is told, whatever it is reached through. */
void print_bits(uint64_t bits, uint32_t space);
void json_bits(struct json *j, const char *key, uint64_t bits, uint32_t space);
uint32_t config_length(uint32_t type); /* bytes of config space that a device of the type has */
void print_config(uint32_t type, const uint8_t *config);
void json_config(struct json *j, uint32_t type, const uint8_t *config, uint32_t len);

/* probe_dev.c */
int probe_device(const char *name, bool as_json);

/* vdpa.c: what ls tells too. */
void vdpa_classes(uint64_t bits, FILE *to);
void vdpa_place_json(struct json *j, const struct vh_vdpa_place *p);
void vdpa_maker_json(struct json *j, const struct vh_vdpa_mgmtdev *d);

/* One file for each command. */
int cmd_serve(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_io(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_state(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_vdpa(int argc, char **argv);
int io_bench(struct target *t, int argc, char **argv); /* bench.c; parses its own options */

#endif
