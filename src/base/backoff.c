/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vhi_backoff.h"

#include "vh/error.h"

#define DEFAULT_FIRST_MS 100u
#define DEFAULT_MAX_MS	 10000u
#define DEFAULT_JITTER	 25u
#define NS_PER_MS	 UINT64_C(1000000)

vh_rc vhi_backoff_begin(struct vhi_backoff *b, const struct vh_reconnect *policy, uint64_t seed, const char *who)
{
	struct vh_reconnect p;
	vh_rc rc = vhi_opts_in(&p, sizeof(p), policy, "vh_reconnect");

	if (rc)
		return rc;
	if (p.flags || p.jitter > 100)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"%s: vh_reconnect has flags 0x%x and a jitter of %u; flags are 0, a jitter is at most 100", who,
			p.flags, p.jitter);
	p.first_ms = p.first_ms ? p.first_ms : DEFAULT_FIRST_MS;
	p.max_ms = p.max_ms ? p.max_ms : VHI_MAX(DEFAULT_MAX_MS, p.first_ms);
	p.jitter = p.jitter ? p.jitter : DEFAULT_JITTER;
	if (p.max_ms < p.first_ms)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: vh_reconnect begins with %u ms, which is more than its longest delay of %u ms",
				who, p.first_ms, p.max_ms);
	*b = (struct vhi_backoff){.policy = p, .on = policy, .random = seed ? seed : vhi_now_ns()};
	return 0;
}

void vhi_backoff_reset(struct vhi_backoff *b)
{
	b->failures = 0;
	b->delay_ms = 0;
}

/* splitmix64: any state is a good one. */
static uint64_t next_random(struct vhi_backoff *b)
{
	uint64_t z = b->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

bool vhi_backoff_next(struct vhi_backoff *b, bool failed, uint64_t *delay_ns)
{
	uint64_t ns;

	/* With no limit the number is of no use, and must not wrap. */
	if (failed && b->failures < UINT32_MAX)
		b->failures++;
	if (!b->on || (b->policy.max_tries && b->failures >= b->policy.max_tries))
		return false;
	b->delay_ms = b->delay_ms ? VHI_MIN(2 * b->delay_ms, (uint64_t)b->policy.max_ms) : b->policy.first_ms;
	ns = b->delay_ms * NS_PER_MS;
	*delay_ns = ns - next_random(b) % (ns / 100 * b->policy.jitter + 1);
	return true;
}
