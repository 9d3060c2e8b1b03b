/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Arguments for any function, made from the model: good ones, of which a test then spoils one. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <errno.h>

#include "dyn.h"

/* One of each kind of handle, alive as long as the sweep. */
void world_open(void);
void world_close(void);

struct sample {
	struct dyn_call *call;
	uint64_t args[DYN_MAX_PARAMS];
	size_t bytes[DYN_MAX_PARAMS]; /* at each pointer that is not a handle */
	void *before[DYN_MAX_PARAMS]; /* a copy of them */
	struct receiver receiver;     /* what ctx points to */
	uint64_t fresh;		      /* a handle made for this call alone */
	const char *fresh_kind;
};

void sample_make(struct sample *s, struct dyn_call *call);
void sample_free(struct sample *s); /* with what the call gave out */

bool is_handle(const struct dyn_param *p);
bool is_context(const struct dyn_param *p);
bool is_memory(const struct dyn_param *p); /* a pointer to what the caller has */

bool sample_counts(const struct dyn_call *call, const char *name); /* some other parameter's elements */
/* Is there a parameter that counts its elements? Not so when a member of another one does. */
bool sample_is_counted(const struct dyn_call *call, const struct dyn_param *p);

/* The index of the parameter that is an ops struct, -1 without one. */
int sample_ops(const struct dyn_call *call);

/* Another block for one argument: its first bytes are those of the old one, the rest is @fill. */
void sample_resize(struct sample *s, unsigned i, size_t bytes, int fill);
void sample_set_size(struct sample *s, unsigned i, uint32_t size);
#define SAMPLE_OTHER_CODE (-ENOENT)
void sample_other_failure(void);       /* so that the details are of another call, and of this code */
int64_t sample_call(struct sample *s); /* keeps a copy of all memory, then calls */
bool sample_untouched(const struct sample *s, unsigned i);

#endif
