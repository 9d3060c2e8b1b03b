/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The ring machine. Front-ends differ in what starts a ring: by newer text SET_VRING_KICK, by older text the first kick
 * after it. Here SET_VRING_KICK starts a ring that is complete; one that isn't is wanted, and starts with the missing
 * message or with the first kick. Whenever a ring starts, is enabled or resumes it is looked at, so no kick is lost.
 */
#include "vhi_slave.h"

typedef uint32_t vring_action(struct vh_slave *s, uint32_t i);

bool vhi_vring_started(const struct vhi_vring *r)
{
	return r->state >= VHI_VRING_RUNNING;
}

bool vhi_vring_any_started(const struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		if (vhi_vring_started(&s->rings[i]))
			return true;
	return false;
}

static bool is_manual(const struct vh_slave *s)
{
	return s->dev->ops.flags & VH_DEVICE_MANUAL_QUEUES;
}

/* Somebody has to look at the ring: we do, or the thread that drives it. */
void vhi_vring_look(struct vh_slave *s, struct vhi_vring *r)
{
	if (is_manual(s))
		vhi_queue_wake(r->q);
	else
		r->serve.pending = true;
}

/*
 * Edge-triggered: whatever the peer does with its fd, or leaves in it, can't make us spin. The kick fd of a queue that
 * its user drives is only ours while the first kick is to start the ring.
 */
static int watch_kick(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];
	int fd = vhi_queue_get_fd(r->q, VHI_QUEUE_KICK);
	bool wanted = fd >= 0 && !(is_manual(s) && vhi_vring_started(r));
	int rc;

	if (wanted == r->watched)
		return 0;
	rc = vhi_slave_watch(s, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, VHI_SOURCE_KICK, i, EPOLLIN | EPOLLET);
	r->watched = wanted && !rc;
	return rc;
}

int vhi_vring_set_kick(struct vh_slave *s, uint32_t i, int fd)
{
	struct vhi_vring *r = &s->rings[i];
	int rc;

	/* Closing is not enough: the peer has the same open file, and the set would keep it. */
	if (r->watched)
		vhi_slave_watch(s, EPOLL_CTL_DEL, vhi_queue_get_fd(r->q, VHI_QUEUE_KICK), VHI_SOURCE_KICK, i, 0);
	r->watched = false;
	rc = vhi_queue_set_fd(r->q, VHI_QUEUE_KICK, fd);
	if (rc) {
		watch_kick(s, i); /* the old one is still there */
		return rc;
	}
	rc = watch_kick(s, i);
	return rc ? vhi_fail_at(rc, VH_ERROR_SYSTEM, 0, i, VH_ERROR_NONE, "queue %u: can't watch its kick fd: %s", i,
				vh_error_name(rc))
		  : 0;
}

bool vhi_vring_locate(const struct vh_slave *s, const struct vh_snapshot *snap, const struct vh_vring_addr *addr,
		      uint32_t num, struct vhi_gpa out[3])
{
	const struct vhi_uva at[VHI_RING_AREAS] = {{addr->desc}, {addr->avail}, {addr->used}};
	const bool gpa = vhi_slave_acked(s, VH_PF_GPA_ADDRESSES);
	struct vhi_ring_area area[VHI_RING_AREAS];

	/* I/O addresses, which need not be known yet. */
	for (int i = 0; vhi_slave_behind(s) && i < VHI_RING_AREAS; i++)
		out[i].v = at[i].v;
	if (vhi_slave_behind(s))
		return true;
	vhi_ring_areas(num, s->conn.f.acked, area);
	for (int i = 0; i < VHI_RING_AREAS; i++) {
		out[i].v = at[i].v;
		if (gpa ? !vhi_translate_one(snap, out[i], area[i].len)
			: !vhi_uva_to_gpa(snap, at[i], area[i].len, &out[i]))
			return false;
	}
	return true;
}

/*
 * Some front-ends know only 16 bits of a packed ring's base, where taking goes on: nothing is in flight then, so that
 * publishing goes on there as well.
 */
uint32_t vhi_vring_base_of(const struct vh_slave *s, uint32_t value)
{
	return s->conn.f.acked & VHI_BIT(VH_F_RING_PACKED) && value <= UINT16_MAX ? value | value << 16 : value;
}

uint32_t vhi_vring_base(const struct vh_slave *s, const struct vhi_vring *r)
{
	return r->has_base ? vhi_vring_base_of(s, r->base) : vhi_ring_first_base(s->conn.f.acked);
}

/* What a network driver sends while the queue is disabled is taken and thrown away; its receive queues just wait. */
static bool discards(const struct vh_slave *s, uint32_t i)
{
	return s->dev->opts.type == VH_TYPE_NET && i % 2 && !is_manual(s) && !s->rings[i].enabled;
}

static void set_enabled(struct vh_slave *s, uint32_t i, bool on)
{
	struct vhi_vring *r = &s->rings[i];

	if (r->enabled != on)
		vhi_events_raise(&s->events, on ? VH_EVENT_ENABLED : VH_EVENT_DISABLED, i, 0, 0);
	r->enabled = on;
	vhi_queue_ctl(r->q, on ? VHI_CTL_ENABLE : VHI_CTL_DISABLE, NULL);
}

void vhi_vring_enable(struct vh_slave *s, uint32_t i, bool on)
{
	set_enabled(s, i, on);
	if (on || discards(s, i))
		vhi_vring_look(s, &s->rings[i]);
}

static int start_queue(struct vh_slave *s, uint32_t i, struct vh_snapshot *snap)
{
	struct vhi_vring *r = &s->rings[i];
	struct vhi_gpa at[3];
	struct vhi_ring ring = {.num = r->num, .features = s->conn.f.acked, .base = vhi_vring_base(s, r)};
	int rc;

	if (!vhi_vring_locate(s, snap, &r->addr, r->num, at))
		return vhi_fail(-EFAULT, VH_ERROR_MEMORY, 0,
				"the ring at 0x%llx, 0x%llx, 0x%llx is not wholly in memory that was shared",
				(unsigned long long)r->addr.desc, (unsigned long long)r->addr.avail,
				(unsigned long long)r->addr.used);
	/* Without bit 30 there is no SET_VRING_ENABLE. */
	set_enabled(s, i, r->enabled || !(s->conn.f.acked & VHI_BIT(VH_F_PROTOCOL_FEATURES)));
	vhi_inband_reset(s, i, vhi_slave_acked(s, VH_PF_INBAND_NOTIFICATIONS));
	ring.desc = at[0];
	ring.driver = at[1];
	ring.device = at[2];
	ring.log = vhi_vring_log(s, r);
	ring.inflight = s->conn.inflight;
	ring.iotlb = vhi_slave_behind(s) ? s->conn.iotlb : NULL;
	rc = vhi_queue_start(r->q, &ring, snap);
	if (rc)
		return rc;
	r->desc = at[0];
	r->driver = at[1];
	r->device = at[2];
	return 0;
}

/* Records are read when the ring is found: behind an IOTLB that is later. */
static void tell_again(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];
	const uint32_t again = vhi_queue_resubmits(r->q);

	if (!again)
		return;
	r->fresh = false;
	vhi_log_line(&s->log, VH_LOG_INFO, "queue %u: %u requests were in flight and are done again", i, again);
	vhi_events_raise(&s->events, VH_EVENT_RESUBMITTED, i, 0, again);
}

static void started(struct vh_slave *s, uint32_t i, int32_t reason)
{
	struct vhi_vring *r = &s->rings[i];

	/* A front-end that goes on has thought better of moving the device. */
	vhi_state_end(s, -ECANCELED);
	r->state = VHI_VRING_RUNNING;
	r->lost = false;
	r->fresh = true;
	vhi_serve_begin(&r->serve, s->opts.poll_us);
	watch_kick(s, i);
	vhi_log_line(&s->log, VH_LOG_DEBUG, "queue %u started", i);
	vhi_events_raise(&s->events, VH_EVENT_STARTED, i, reason, 0);
	tell_again(s, i);
	if (s->dev->ops.queue_started)
		s->dev->ops.queue_started(s->dev->ctx, r->q, i);
	vhi_vring_look(s, r);
	vhi_back_ring_started(s);
}

/* Starts the ring, or leaves it wanted. Returns a site number when all is there but does not fit together. */
static uint32_t try_start(struct vh_slave *s, uint32_t i, int32_t reason)
{
	struct vhi_vring *r = &s->rings[i];
	struct vh_snapshot *snap = vhi_mem_snapshot(s->mem);
	bool complete = r->num && r->has_addr && snap->n && !vhi_postcopy_waits(s);
	int rc = complete ? start_queue(s, i, snap) : -EBUSY;
	bool waits;

	vhi_snapshot_put(snap);
	waits = r->busy;
	r->state = VHI_VRING_WANTED;
	r->busy = complete && rc == -EBUSY;
	if (!rc) {
		started(s, i, reason);
		return 0;
	}
	/* -EBUSY also comes from a queue that another thread has not left since it was stopped, or that was stopped too
	 * often with requests in flight which never came back; it wakes us when that is over. */
	if (complete && (rc != -EBUSY || !waits)) {
		struct vh_error e = {.size = sizeof(e)};

		vh_error_get(&e);
		vhi_log_line(&s->log, VH_LOG_WARNING, "queue %u does not start%s: %s", i, rc == -EBUSY ? " yet" : "",
			     e.text);
	}
	return VHI_REFUSE(VHI_SITE_SLAVE_KICK_START, rc != -EBUSY) ? VHI_SITE_SLAVE_KICK_START : 0;
}

static void close_notifiers(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];

	/* A kick that comes as of now is for who has the ring now. */
	if (!s->exported)
		vhi_queue_drain(r->q);
	vhi_vring_set_kick(s, i, -1);
	vhi_queue_set_fd(r->q, VHI_QUEUE_CALL, -1);
	r->serve.polled = false;
	r->serve.pending = false;
}

static uint32_t act_start_fd(struct vh_slave *s, uint32_t i)
{
	uint32_t site = try_start(s, i, VH_START_KICK_FD);

	if (site) {
		s->rings[i].state = VHI_VRING_STOPPED;
		vhi_vring_set_kick(s, i, -1);
		s->rings[i].serve.polled = false;
	}
	return site;
}

/* The message that brings this about is not to blame when the ring still can't start. */
static uint32_t act_start_completed(struct vh_slave *s, uint32_t i)
{
	try_start(s, i, VH_START_COMPLETED);
	return 0;
}

static uint32_t act_start_kick(struct vh_slave *s, uint32_t i)
{
	try_start(s, i, VH_START_KICK);
	return 0;
}

static uint32_t act_look(struct vh_slave *s, uint32_t i)
{
	vhi_vring_look(s, &s->rings[i]);
	return 0;
}

static uint32_t act_kicked(struct vh_slave *s, uint32_t i)
{
	vhi_queue_ack(s->rings[i].q);
	vhi_vring_look(s, &s->rings[i]);
	return 0;
}

static void stopped(struct vh_slave *s, uint32_t i, uint32_t base)
{
	struct vhi_vring *r = &s->rings[i];

	r->state = VHI_VRING_STOPPED;
	r->base = base;
	r->has_base = true;
	close_notifiers(s, i);
	vhi_log_line(&s->log, VH_LOG_DEBUG, "queue %u stopped at %u", i, base);
	vhi_events_raise(&s->events, VH_EVENT_STOPPED, i, 0, base);
	if (vhi_slave_behind(s) && !vhi_vring_any_started(s))
		vhi_slave_iotlb_forget(s);
	if (s->dev->ops.queue_stopped)
		s->dev->ops.queue_stopped(s->dev->ctx, r->q, i);
}

static uint32_t act_stop_idle(struct vh_slave *s, uint32_t i)
{
	s->rings[i].state = VHI_VRING_STOPPED;
	close_notifiers(s, i);
	return 0;
}

static uint32_t act_drained(struct vh_slave *s, uint32_t i)
{
	uint32_t base;

	if (!vhi_queue_finish_stop(s->rings[i].q, &base))
		stopped(s, i, base);
	return 0;
}

static uint32_t act_drain(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];
	uint32_t n;

	r->state = VHI_VRING_DRAINING;
	vhi_queue_ctl(r->q, VHI_CTL_DRAIN, NULL);
	n = vhi_queue_in_flight(r->q);
	if (n)
		vhi_events_raise(&s->events, VH_EVENT_DRAINING, i, 0, n);
	return act_drained(s, i);
}

/*
 * Nothing more is published, and the device is told at once, so that it can end what it does; the answer waits until it
 * has pushed everything, as it may write guest memory until then. Without records it is a drain like any other.
 */
static uint32_t act_park(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];

	if (!vhi_queue_tracked(r->q))
		return r->state == VHI_VRING_DRAINING ? 0 : act_drain(s, i);
	r->state = VHI_VRING_DRAINING;
	vhi_queue_ctl(r->q, VHI_CTL_PARK, NULL);
	return act_drained(s, i);
}

static uint32_t act_abort(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];

	vhi_queue_ctl(r->q, VHI_CTL_ABORT, NULL);
	stopped(s, i, vhi_queue_base(r->q));
	return 0;
}

static uint32_t act_broken(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];
	struct vhi_failure f = {0};

	vhi_queue_failure(r->q, &f);
	r->state = VHI_VRING_BROKEN;
	s->conn.status |= VHI_STATUS_NEEDS_RESET;
	vhi_log_line(&s->log, VH_LOG_WARNING, "queue %u broke: %s", i, f.text);
	vhi_events_raise(&s->events, VH_EVENT_BROKEN, i, f.code, f.site);
	vhi_slave_iotlb_fault(s, i);
	return 0;
}

/* What is not in the table changes nothing. */
static vring_action *const machine[VHI_VRING_STATES][VHI_VRING_EVENTS] = {
	[VHI_VRING_STOPPED] =
		{
			[VHI_VRING_KICK_MSG] = act_start_fd,
			[VHI_VRING_STOP] = act_stop_idle,
			[VHI_VRING_PARK] = act_stop_idle,
			[VHI_VRING_GONE] = act_stop_idle,
		},
	[VHI_VRING_WANTED] =
		{
			[VHI_VRING_KICK_MSG] = act_start_fd,
			[VHI_VRING_CONFIGURED] = act_start_completed,
			[VHI_VRING_KICKED] = act_start_kick,
			[VHI_VRING_STOP] = act_stop_idle,
			[VHI_VRING_PARK] = act_stop_idle,
			[VHI_VRING_GONE] = act_stop_idle,
		},
	[VHI_VRING_RUNNING] =
		{
			[VHI_VRING_KICK_MSG] = act_look,
			[VHI_VRING_KICKED] = act_kicked,
			[VHI_VRING_STOP] = act_drain,
			[VHI_VRING_PARK] = act_park,
			[VHI_VRING_BROKE] = act_broken,
			[VHI_VRING_GONE] = act_abort,
		},
	[VHI_VRING_DRAINING] =
		{
			[VHI_VRING_DRAINED] = act_drained,
			[VHI_VRING_GONE] = act_abort,
		},
	[VHI_VRING_BROKEN] =
		{
			[VHI_VRING_STOP] = act_drain,
			[VHI_VRING_PARK] = act_park,
			[VHI_VRING_GONE] = act_abort,
		},
};

uint32_t vhi_vring_event(struct vh_slave *s, uint32_t i, enum vhi_vring_event ev)
{
	vring_action *action = machine[s->rings[i].state][ev];

	return action ? action(s, i) : 0;
}

void vhi_vring_initial(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];

	close_notifiers(s, i);
	vhi_queue_set_fd(r->q, VHI_QUEUE_ERR, -1);
	vhi_inband_reset(s, i, false);
	vhi_queue_ctl(r->q, VHI_CTL_DISABLE, NULL);
	vhi_queue_ctl(r->q, VHI_CTL_RESUME, NULL);
	r->enabled = false;
	r->paused = false;
	r->moving = false;
	r->busy = false;
	r->has_addr = false;
	r->has_base = false;
	r->num = 0;
	r->base = 0;
	memset(&r->addr, 0, sizeof(r->addr));
}

static void inflight_lost(struct vh_slave *s, uint32_t i)
{
	s->rings[i].lost = true;
	vhi_log_line(&s->log, VH_LOG_WARNING,
		     "queue %u: the file of its inflight records was truncated; what is in flight when this process "
		     "ends will not be done again",
		     i);
	vhi_events_raise(&s->events, VH_EVENT_INFLIGHT_LOST, i, -EFAULT, 0);
}

void vhi_vring_woken(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++) {
		struct vhi_vring *r = &s->rings[i];

		if (r->state == VHI_VRING_RUNNING && vh_queue_state(r->q) == VH_QUEUE_BROKEN)
			vhi_vring_event(s, i, VHI_VRING_BROKE);
		/* It may be that a pop was cut short, and that there is room again. */
		if (r->state == VHI_VRING_RUNNING && !is_manual(s))
			r->serve.pending = true;
		if (r->busy)
			vhi_vring_event(s, i, VHI_VRING_CONFIGURED);
		if (!r->lost && vhi_queue_inflight_lost(r->q))
			inflight_lost(s, i);
		if (r->fresh)
			tell_again(s, i);
	}
}

static bool is_due(const struct vh_slave *s, uint32_t i)
{
	const struct vhi_vring *r = &s->rings[i];

	return r->serve.pending && r->state == VHI_VRING_RUNNING && (r->enabled || discards(s, i)) && !r->paused;
}

bool vhi_vring_any_pending(const struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		if (is_due(s, i))
			return true;
	return false;
}

bool vhi_vring_only_polls(const struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		if (is_due(s, i) && !s->rings[i].serve.polling)
			return false;
	return true;
}

/* A round of a queue that discards; for as long it is open. */
static int32_t discard(const struct vh_slave *s, struct vhi_vring *r)
{
	struct vh_req reqs[32];
	struct vh_cpl cpls[VHI_ARRAY_SIZE(reqs)];
	int32_t n, rc;

	vhi_queue_ctl(r->q, VHI_CTL_ENABLE, NULL);
	n = vh_queue_pop(r->q, reqs, VHI_ARRAY_SIZE(reqs));
	for (int32_t i = 0; i < n; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	rc = n > 0 ? vh_queue_push(r->q, cpls, (uint32_t)n) : n;
	if (!rc && !n)
		vhi_serve_rest(&r->serve, r->q, false, s->opts.poll_us);
	vhi_queue_ctl(r->q, VHI_CTL_DISABLE, NULL);
	return rc ? rc : n;
}

static void run(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];
	int32_t rc;

	vhi_serve_open(&r->serve, r->q);
	rc = r->enabled ? vhi_serve_batch(&r->serve, r->q, s->dev, i, s->opts.budget, s->opts.poll_us) : discard(s, r);
	if (vhi_slave_ended(s))
		return;
	if (rc > 0)
		r->serve.pending = true;
	else if (rc < 0 && vh_queue_state(r->q) != VH_QUEUE_BROKEN)
		vhi_queue_break(r->q, rc, 0, "the device gave the queue up");
	if (vh_queue_state(r->q) == VH_QUEUE_BROKEN)
		vhi_vring_event(s, i, VHI_VRING_BROKE);
}

/* A ring that can't run now is looked at when it can again, so its mark may go. */
void vhi_vring_run_all(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues && !vhi_slave_ended(s); i++) {
		if (is_due(s, i))
			run(s, i);
		else
			s->rings[i].serve.pending = false;
	}
}
