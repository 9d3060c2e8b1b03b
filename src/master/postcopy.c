/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Postcopy from the front-end's side. Where the back-end maps memory is what it says itself: it only decides at which of
 * its own addresses a page is brought. Pages are brought by other threads than the one that waits on the connection, so
 * what they need lies in an object with a lock of its own.
 */
#include <pthread.h>

#include "vh/migrate.h"
#include "vhi_master.h"
#include "vhi_uffd.h"

#define STRANGE_MAX 64 /* faults at addresses that nobody told of, in one call */

/* A region as the back-end has it. */
struct place {
	uint64_t gpa, len, address, page_size;
};

struct vh_postcopy {
	uint32_t refs; /* atomic: the caller's and the connection's */
	int uffd;
	pthread_mutex_t lock; /* of the places */
	uint32_t n;
	struct place places[VH_MEM_MAX_REGIONS];
};

static void put(struct vh_postcopy *p)
{
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhi_fd_close(&p->uffd);
	pthread_mutex_destroy(&p->lock);
	vhi_free(p);
}

void vh_postcopy_free(struct vh_postcopy *p)
{
	put(p);
}

void vhi_postcopy_drop(struct vh_master *m)
{
	put(m->postcopy);
	m->postcopy = NULL;
	m->listening = false;
	m->unacknowledged = 0;
}

/* Takes @uffd over, whatever comes of it. */
static int make(int uffd, struct vh_postcopy **out)
{
	struct vh_postcopy *p;
	int rc = vhi_uffd_check(uffd);

	if (VHI_REFUSE(VHI_SITE_MASTER_UFFD, rc)) {
		vhi_fd_close(&uffd);
		return vhi_fail_at(-EPROTO, VH_ERROR_PEER, VHI_SITE_MASTER_UFFD, VH_ERROR_NONE, VHI_FE_POSTCOPY_ADVISE,
				   "the back-end's reply to POSTCOPY_ADVISE has no userfaultfd: %s", vh_error_name(rc));
	}
	p = vhi_calloc(1, sizeof(*p));
	if (!p) {
		vhi_fd_close(&uffd);
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_master_postcopy_advise: no memory");
	}
	pthread_mutex_init(&p->lock, NULL);
	p->refs = 2;
	p->uffd = uffd;
	*out = p;
	return 0;
}

static int advise(struct vh_master *m, struct vh_postcopy **out)
{
	const struct vhi_request rq = {.id = VHI_FE_POSTCOPY_ADVISE};
	struct vhi_ticket *t;
	int rc = vhi_master_call(m, &rq, &t), uffd;

	if (rc)
		return rc;
	uffd = vhi_ticket_take_fd(t);
	vhi_ticket_free(m, t);
	if (uffd < 0)
		return vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, rq.id,
				   "the back-end has no userfaultfd; may it use one?");
	rc = make(uffd, out);
	if (rc)
		return rc;
	put(m->postcopy);
	m->postcopy = *out;
	return 0;
}

vh_rc vh_master_postcopy_advise(struct vh_master *m, struct vh_postcopy **out)
{
	const char *who = "vh_master_postcopy_advise";
	struct vh_postcopy *p = NULL;
	int rc;

	if (m && !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: out is NULL", who);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = advise(m, &p);
	if (!rc)
		*out = p;
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_postcopy_listen(struct vh_master *m)
{
	const char *who = "vh_master_postcopy_listen";
	int rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);

	if (rc)
		return rc;
	if (!m->postcopy || m->n_shared)
		rc = vhi_fail(-EINVAL, VH_ERROR_STATE, 0,
			      "%s: after vh_master_postcopy_advise(), and before memory is shared", who);
	else
		rc = vhi_master_call(m, &(struct vhi_request){.id = VHI_FE_POSTCOPY_LISTEN}, NULL);
	if (!rc)
		m->listening = true;
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_postcopy_end(struct vh_master *m)
{
	const struct vhi_request rq = {.id = VHI_FE_POSTCOPY_END};
	uint64_t value;
	int rc = vhi_master_enter(m, "vh_master_postcopy_end", VHI_CALL_WAITS | VHI_CALL_CONNECTED);

	if (rc)
		return rc;
	rc = vhi_master_call_u64(m, &rq, &value);
	if (rc)
		return vhi_master_leave(m, rc);
	vhi_postcopy_drop(m);
	if (value)
		rc = vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, rq.id,
				 "the back-end refused POSTCOPY_END (0x%llx)", (unsigned long long)value);
	return vhi_master_leave(m, rc);
}

uint32_t vhi_postcopy_reply(const struct vh_master *m)
{
	return m->listening ? VH_REPLY_OWN : VH_REPLY_TABLE;
}

int vhi_postcopy_fits(const struct vh_master *m, const struct vh_snapshot *snap, const char *who)
{
	for (uint32_t i = 0; m->listening && i < snap->n; i++) {
		const struct vhi_region *r = snap->regions[i];

		if (vhi_wire_xen_size(&m->features) || (r->offset | r->gpa.v | r->len) & (r->page_size - 1))
			return vhi_fail(-EINVAL, VH_ERROR_MEMORY, 0,
					"%s: region %u is not of whole pages, which come one by one, or of Xen", who,
					i);
	}
	return 0;
}

/* The regions that a reply is about: where they begin in it and among those of the snapshot. */
static uint32_t told(const struct vhi_effect *e, uint32_t request, size_t *at, uint32_t *first)
{
	const bool one = request == VHI_FE_ADD_MEM_REG;

	*at = one ? offsetof(struct vhi_wire_mem_reg, region) : offsetof(struct vhi_wire_mem_table, regions);
	*first = one ? e->index : 0;
	return one ? 1 : e->snap->n;
}

uint32_t vhi_postcopy_check(const struct vhi_effect *e, const struct vhi_msg *in)
{
	uint32_t n, first;
	size_t at;

	/* One that the user sent raw. */
	if (!e->snap)
		return 0;
	n = told(e, in->header.request, &at, &first);
	for (uint32_t i = 0; i < n; i++) {
		const struct vhi_region *r = e->snap->regions[first + i];
		struct vhi_wire_region theirs = {0};
		bool same = in->header.size == at + n * sizeof(theirs);

		if (same)
			memcpy(&theirs, in->payload + at + i * sizeof(theirs), sizeof(theirs));
		same = same && theirs.gpa == r->gpa.v && theirs.size == r->len && theirs.offset == r->offset;
		if (VHI_REFUSE(VHI_SITE_MASTER_ECHO, !same))
			return VHI_SITE_MASTER_ECHO;
		if (VHI_REFUSE(VHI_SITE_MASTER_ECHO_ADDRESS,
			       !theirs.uva || theirs.uva & (r->page_size - 1) || vhi_range_wraps(theirs.uva, r->len)))
			return VHI_SITE_MASTER_ECHO_ADDRESS;
	}
	return 0;
}

void vhi_postcopy_learn(struct vh_master *m, const struct vhi_effect *e, const struct vhi_ticket *t)
{
	struct vh_postcopy *p = m->postcopy;
	uint32_t n, first;
	size_t at;

	if (!e->snap || (t->request != VHI_FE_ADD_MEM_REG && t->request != VHI_FE_SET_MEM_TABLE))
		return;
	m->unacknowledged = t->request;
	n = told(e, t->request, &at, &first);
	pthread_mutex_lock(&p->lock);
	if (t->request == VHI_FE_SET_MEM_TABLE)
		p->n = 0;
	for (uint32_t i = 0; i < n && p->n < VH_MEM_MAX_REGIONS; i++) {
		const struct vhi_region *r = e->snap->regions[first + i];
		struct vhi_wire_region w;

		memcpy(&w, t->payload + at + i * sizeof(w), sizeof(w));
		p->places[p->n++] = (struct place){
			.gpa = r->gpa.v, .len = r->len, .address = w.uva, .page_size = r->page_size};
	}
	pthread_mutex_unlock(&p->lock);
}

void vhi_postcopy_forget(struct vh_master *m, uint64_t gpa)
{
	struct vh_postcopy *p = m->postcopy;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->n; i++)
		if (p->places[i].gpa == gpa)
			p->places[i--] = p->places[--p->n];
	pthread_mutex_unlock(&p->lock);
}

/*
 * A message that has no row in the table: the id of the last one, and 0. QEMU sends it so, and back-ends know it by the
 * state that they are in.
 */
int vhi_postcopy_acknowledge(struct vh_master *m)
{
	const uint64_t known = 0;
	int rc;

	if (!m->unacknowledged)
		return 0;
	rc = vhi_chan_send(&m->main, m->unacknowledged, VHI_WIRE_VERSION, &known, sizeof(known), NULL, 0);
	vhi_loop_sent(m);
	if (!rc)
		m->unacknowledged = 0;
	return rc ? vhi_fail(rc, VH_ERROR_PEER, 0, "the back-end can't be told that its addresses are known: %s",
			     vh_error_name(rc))
		  : 0;
}

static int missing(const struct vh_postcopy *p, const void *out, const char *who)
{
	return p && out ? 0 : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: an argument is NULL", who);
}

vh_fd vh_postcopy_fd(struct vh_postcopy *p)
{
	return missing(p, p, "vh_postcopy_fd") ? -EINVAL : p->uffd;
}

/* Where a range of guest addresses, or one address of the back-end's, is. */
static bool find(struct vh_postcopy *p, uint64_t of_gpa, uint64_t address, bool by_address, struct place *out)
{
	bool found = false;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->n && !found; i++) {
		const struct place *at = &p->places[i];

		found = by_address ? address - at->address < at->len : of_gpa - at->gpa < at->len;
		if (found)
			*out = *at;
	}
	pthread_mutex_unlock(&p->lock);
	return found;
}

vh_count vh_postcopy_next(struct vh_postcopy *p, struct vh_postcopy_fault *out)
{
	struct vh_postcopy_fault said = {0};
	struct vhi_uffd_fault fault;
	struct place at = {0};
	int rc = missing(p, out, "vh_postcopy_next");

	if (!rc)
		rc = vhi_out_check(out, "vh_postcopy_next");
	for (int i = 0; !rc && i < STRANGE_MAX; i++) {
		rc = vhi_uffd_next(p->uffd, &fault);
		if (rc < 0)
			return vhi_fail(rc, VH_ERROR_PEER, 0, "vh_postcopy_next: %s", vh_error_name(rc));
		if (!rc)
			return 0;
		rc = 0;
		if (!find(p, 0, fault.address, true, &at))
			continue;
		said.flags = fault.write ? VH_POSTCOPY_WRITE : 0;
		said.address = fault.address;
		said.page_size = at.page_size;
		said.gpa = at.gpa + ((fault.address - at.address) & ~(at.page_size - 1));
		rc = vhi_out_fill(out, &said, sizeof(said), "vh_postcopy_next");
		return rc ? rc : 1;
	}
	return rc;
}

/* The back-end's address of a range, that of one region and of whole pages. */
static int locate(struct vh_postcopy *p, uint64_t gpa, uint64_t len, const char *who, struct place *at, uint64_t *to)
{
	if (!find(p, gpa, 0, false, at) || len > at->len - (gpa - at->gpa))
		return vhi_fail(-EFAULT, VH_ERROR_MEMORY, 0,
				"%s: 0x%llx and %llu bytes are in no region of the back-end's", who,
				(unsigned long long)gpa, (unsigned long long)len);
	if (!len || (gpa | len) & (at->page_size - 1))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: 0x%llx and %llu bytes are no whole pages of %llu",
				who, (unsigned long long)gpa, (unsigned long long)len,
				(unsigned long long)at->page_size);
	*to = at->address + (gpa - at->gpa);
	return 0;
}

vh_rc vh_postcopy_place(struct vh_postcopy *p, vh_gpa gpa, const void *buf, uint32_t len)
{
	const char *who = "vh_postcopy_place";
	struct place at;
	uint64_t to;
	int rc = missing(p, buf, who);

	if (!rc)
		rc = locate(p, gpa, len, who, &at, &to);
	if (rc)
		return rc;
	rc = vhi_uffd_copy(p->uffd, to, buf, len, at.page_size);
	return rc ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: %s", who, vh_error_name(rc)) : 0;
}

vh_rc vh_postcopy_wake(struct vh_postcopy *p, vh_gpa gpa, uint64_t len)
{
	const char *who = "vh_postcopy_wake";
	struct place at;
	uint64_t to;
	int rc = missing(p, p, who);

	if (!rc)
		rc = locate(p, gpa, len, who, &at, &to);
	if (rc)
		return rc;
	rc = vhi_uffd_wake(p->uffd, to, len);
	return rc ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: %s", who, vh_error_name(rc)) : 0;
}
